package interop.spring;

import com.rabbitmq.client.Channel;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;

/** A listener that keeps what it receives, for a test to wait on and to settle. */
final class Inbox implements ChannelAwareMessageListener {
    private final List<Delivery> deliveries = new ArrayList<>();
    private Listening listening;

    private Inbox() {}

    record Delivery(Message message, Channel channel) {
        String body() {
            return Client.text(message);
        }

        long tag() {
            return message.getMessageProperties().getDeliveryTag();
        }
    }

    static Inbox open(Client client, String queue) throws InterruptedException {
        return open(client, queue, container -> {});
    }

    static Inbox open(Client client, String queue, Consumer<DirectMessageListenerContainer> options)
            throws InterruptedException {
        return openMany(client, queue, 1, options);
    }

    static Inbox openMany(
            Client client, String queue, int consumers, Consumer<DirectMessageListenerContainer> options)
            throws InterruptedException {
        Inbox inbox = new Inbox();
        Consumer<DirectMessageListenerContainer> manual = Listening::settledByListener;
        inbox.listening = Listening.direct(client, inbox, manual.andThen(options), consumers, queue);
        return inbox;
    }

    static Inbox openNoAck(Client client, String queue) throws InterruptedException {
        return open(client, queue, Listening::unsettled);
    }

    /** All queues over one channel. */
    static Inbox openSimple(Client client, Consumer<SimpleMessageListenerContainer> options, String... queues)
            throws InterruptedException {
        Inbox inbox = new Inbox();
        Consumer<SimpleMessageListenerContainer> manual = Listening::settledByListener;
        inbox.listening = Listening.simple(client, inbox, manual.andThen(options), queues);
        return inbox;
    }

    @Override
    public synchronized void onMessage(Message message, Channel channel) {
        deliveries.add(new Delivery(message, channel));
        notifyAll();
    }

    /** The first {@code count} deliveries, awaited. */
    synchronized List<Delivery> await(int count) throws InterruptedException {
        while (deliveries.size() < count) {
            wait();
        }
        return new ArrayList<>(deliveries.subList(0, count));
    }

    /** The delivery with this number, the first being 1, awaited. */
    Delivery awaitNumber(int number) throws InterruptedException {
        return await(number).get(number - 1);
    }

    List<String> awaitBodies(int count) throws InterruptedException {
        return await(count).stream().map(Delivery::body).collect(Collectors.toList());
    }

    /** The bodies from the delivery with this number on, those delivered before marked with "again". */
    List<String> awaitMarked(int from, int to) throws InterruptedException {
        return await(to).subList(from - 1, to).stream()
                .map(delivery -> Client.marked(delivery.message()))
                .collect(Collectors.toList());
    }

    synchronized List<Delivery> received() {
        return new ArrayList<>(deliveries);
    }

    List<Long> tags() {
        return received().stream().map(Delivery::tag).collect(Collectors.toList());
    }

    /** The channel of its first delivery. */
    Channel channel() throws InterruptedException {
        return awaitNumber(1).channel();
    }

    Listening listening() {
        return listening;
    }

    /** Cancels the consumer and closes its channel. */
    void stop() {
        listening.stop();
    }
}
