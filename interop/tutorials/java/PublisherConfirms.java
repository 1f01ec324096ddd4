import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConfirmCallback;
import com.rabbitmq.client.Connection;
import java.nio.charset.StandardCharsets;
import java.util.NavigableMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.TimeUnit;

/** Publisher confirms: three ways to know that the broker has taken charge of every message. */
public class PublisherConfirms {
    private static final int BATCH_SIZE = 100;
    private static final int TIMEOUT_MS = 30_000;

    private interface Publishing {
        void publish(Channel channel, String queue, int count) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        int count = args.length > 0 ? Integer.parseInt(args[0]) : 10_000;
        try (Connection connection = Broker.connect()) {
            measure(connection, count, "individually", PublisherConfirms::publishIndividually);
            measure(connection, count, "in batches", PublisherConfirms::publishInBatches);
            measure(connection, count, "asynchronously", PublisherConfirms::publishAsynchronously);
        }
    }

    private static void measure(Connection connection, int count, String manner, Publishing publishing)
            throws Exception {
        Channel channel = connection.createChannel();
        String queue = channel.queueDeclare().getQueue();
        channel.confirmSelect();
        long started = System.nanoTime();
        publishing.publish(channel, queue, count);
        long elapsedMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started);
        System.out.println(
                "Published " + count + " messages and handled confirms " + manner + " in " + elapsedMs + " ms");
        channel.close();
    }

    /** Simple and slow: one message under way at a time. */
    private static void publishIndividually(Channel channel, String queue, int count) throws Exception {
        for (int n = 0; n < count; n++) {
            channel.basicPublish("", queue, null, body(n));
            channel.waitForConfirmsOrDie(TIMEOUT_MS);
        }
    }

    /** Few waits, but an error does not say which message of the batch. */
    private static void publishInBatches(Channel channel, String queue, int count) throws Exception {
        for (int n = 1; n <= count; n++) {
            channel.basicPublish("", queue, null, body(n));
            if (n % BATCH_SIZE == 0) {
                channel.waitForConfirmsOrDie(TIMEOUT_MS);
            }
        }
        channel.waitForConfirmsOrDie(TIMEOUT_MS);
    }

    /** Publishes without waiting, and keeps each message until it is confirmed. */
    private static void publishAsynchronously(Channel channel, String queue, int count) throws Exception {
        NavigableMap<Long, byte[]> outstanding = new ConcurrentSkipListMap<>();
        CompletableFuture<Void> allConfirmed = new CompletableFuture<>();
        ConfirmCallback onAck = (number, multiple) -> {
            if (multiple) {
                outstanding.headMap(number, true).clear();
            } else {
                outstanding.remove(number);
            }
            if (outstanding.isEmpty() && channel.getNextPublishSeqNo() > count) {
                allConfirmed.complete(null);
            }
        };
        ConfirmCallback onNack = (number, multiple) ->
                allConfirmed.completeExceptionally(new IllegalStateException("message " + number + " was refused"));
        channel.addConfirmListener(onAck, onNack);
        for (int n = 0; n < count; n++) {
            byte[] body = body(n);
            outstanding.put(channel.getNextPublishSeqNo(), body);
            channel.basicPublish("", queue, null, body);
        }
        allConfirmed.get(TIMEOUT_MS, TimeUnit.MILLISECONDS);
    }

    private static byte[] body(int n) {
        return String.valueOf(n).getBytes(StandardCharsets.UTF_8);
    }
}
