package interop;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Envelope;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;

/** A consumer that keeps what it receives, for a test to wait on. */
final class Inbox extends DefaultConsumer {
    private final List<Delivery> deliveries = new ArrayList<>();
    private boolean cancelled;
    private String tag;

    private Inbox(Channel channel) {
        super(channel);
    }

    static Inbox open(Channel channel, String queue) throws IOException {
        return open(channel, queue, false, "", false, Map.of());
    }

    static Inbox openNoAck(Channel channel, String queue) throws IOException {
        return open(channel, queue, true, "", false, Map.of());
    }

    static Inbox open(
            Channel channel,
            String queue,
            boolean autoAck,
            String consumerTag,
            boolean exclusive,
            Map<String, Object> arguments)
            throws IOException {
        Inbox inbox = new Inbox(channel);
        inbox.tag = channel.basicConsume(queue, autoAck, consumerTag, false, exclusive, arguments, inbox);
        return inbox;
    }

    String tag() {
        return tag;
    }

    @Override
    public synchronized void handleDelivery(
            String consumerTag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
        deliveries.add(new Delivery(envelope, properties, body));
        notifyAll();
    }

    @Override
    public synchronized void handleCancel(String consumerTag) {
        cancelled = true;
        notifyAll();
    }

    synchronized void awaitCancel() throws InterruptedException {
        until(() -> cancelled);
    }

    /** The first {@code count} deliveries, awaited. */
    synchronized List<Delivery> await(int count) throws InterruptedException {
        until(() -> deliveries.size() >= count);
        return new ArrayList<>(deliveries.subList(0, count));
    }

    List<String> awaitBodies(int count) throws InterruptedException {
        return await(count).stream().map(Inbox::body).collect(Collectors.toList());
    }

    synchronized List<Delivery> received() {
        return new ArrayList<>(deliveries);
    }

    List<Boolean> redelivered() {
        return received().stream().map(d -> d.getEnvelope().isRedeliver()).collect(Collectors.toList());
    }

    List<Long> tags() {
        return received().stream().map(d -> d.getEnvelope().getDeliveryTag()).collect(Collectors.toList());
    }

    static String body(Delivery delivery) {
        return new String(delivery.getBody(), StandardCharsets.UTF_8);
    }

    private synchronized void until(BooleanSupplier condition) throws InterruptedException {
        while (!condition.getAsBoolean()) {
            wait();
        }
    }
}
