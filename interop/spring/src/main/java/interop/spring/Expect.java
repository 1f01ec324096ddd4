package interop.spring;

import static interop.harness.Check.EVENT_TIMEOUT_S;
import static interop.harness.Check.eventually;
import static interop.harness.Check.reasonIs;

import com.rabbitmq.client.ShutdownSignalException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.rabbit.core.ChannelCallback;

/** The state of queues, and the errors that the broker must answer with. */
final class Expect {
    private Expect() {}

    interface Action {
        void run() throws Exception;
    }

    static void awaitReady(Client client, String queue, int count) throws Exception {
        eventually(() -> client.ready(queue) == count, count + " messages ready");
    }

    /** Runs the action on a channel, which the broker must close with this code and text. */
    static void channelError(Client client, int code, String text, ChannelCallback<?> action) throws Exception {
        refused(client, code, text, () -> client.template.execute(action));
    }

    /** Runs the action, upon which the broker must close the channel with this code and text. */
    static void refused(Client client, int code, String text, Action action) throws Exception {
        closedByBroker(client.channelErrors, code, text, action);
    }

    static void connectionError(Client client, int code, String text, ChannelCallback<?> action) throws Exception {
        closedByBroker(client.connectionErrors, code, text, () -> client.template.execute(action));
    }

    /** Spring throws what it learns while it waits for an answer; its listeners are told in any case. */
    private static void closedByBroker(
            BlockingQueue<ShutdownSignalException> errors, int code, String text, Action action) throws Exception {
        errors.clear();
        try {
            action.run();
        } catch (AmqpException e) {
            ShutdownSignalException thrown = reason(e);
            if (thrown != null) {
                reasonIs(thrown, code, text);
            }
        }
        ShutdownSignalException signal = errors.poll(EVENT_TIMEOUT_S, TimeUnit.SECONDS);
        if (signal == null) {
            throw new AssertionError("not closed, expected " + code + " " + text);
        }
        reasonIs(signal, code, text);
    }

    /** What the broker said, in the causes of an exception. */
    static ShutdownSignalException reason(Throwable thrown) {
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            if (cause instanceof ShutdownSignalException) {
                return (ShutdownSignalException) cause;
            }
        }
        return null;
    }
}
