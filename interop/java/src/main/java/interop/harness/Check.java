package interop.harness;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Method;
import com.rabbitmq.client.ShutdownSignalException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/** Exact comparisons, and waiting for what nobody tells. */
public final class Check {
    public static final int EVENT_TIMEOUT_S = 5;

    private static final int POLL_INTERVAL_MS = 20;

    private Check() {}

    public static void equal(Object actual, Object expected, String what) {
        if (!Objects.equals(actual, expected)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + actual);
        }
    }

    public static void isTrue(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError("not so: " + what);
        }
    }

    /** For what the broker finishes in the background without telling anybody. */
    public static void eventually(Callable<Boolean> condition, String what) throws Exception {
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(EVENT_TIMEOUT_S);
        while (!condition.call()) {
            if (System.nanoTime() > until) {
                throw new AssertionError(what + ": not so after " + EVENT_TIMEOUT_S + " s");
            }
            Thread.sleep(POLL_INTERVAL_MS);
        }
    }

    public static void reasonIs(ShutdownSignalException signal, int code, String text) {
        Method reason = signal.getReason();
        if (reason instanceof AMQP.Channel.Close) {
            AMQP.Channel.Close close = (AMQP.Channel.Close) reason;
            equal(close.getReplyCode() + " " + close.getReplyText(), code + " " + text, "channel error");
        } else if (reason instanceof AMQP.Connection.Close) {
            AMQP.Connection.Close close = (AMQP.Connection.Close) reason;
            equal(close.getReplyCode() + " " + close.getReplyText(), code + " " + text, "connection error");
        } else {
            throw new AssertionError("expected " + code + " " + text + ", got " + signal);
        }
    }

    /** Equality of what a header table may hold: byte arrays by content. */
    public static boolean sameValue(Object one, Object other) {
        if (one instanceof byte[] && other instanceof byte[]) {
            return Arrays.equals((byte[]) one, (byte[]) other);
        }
        if (one instanceof Map && other instanceof Map) {
            Map<?, ?> table = (Map<?, ?>) one;
            Map<?, ?> otherTable = (Map<?, ?>) other;
            return table.keySet().equals(otherTable.keySet())
                    && table.keySet().stream().allMatch(key -> sameValue(table.get(key), otherTable.get(key)));
        }
        if (one instanceof List && other instanceof List) {
            List<?> array = (List<?>) one;
            List<?> otherArray = (List<?>) other;
            return array.size() == otherArray.size()
                    && IntStream.range(0, array.size())
                            .allMatch(n -> sameValue(array.get(n), otherArray.get(n)));
        }
        return Objects.equals(one, other);
    }
}
