package interop.spring;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.MessageListener;
import org.springframework.amqp.event.AmqpEvent;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.ConsumeOkEvent;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.ListenerContainerConsumerFailedEvent;
import org.springframework.amqp.rabbit.listener.ListenerContainerConsumerTerminatedEvent;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;

/** A listener container of one of the two kinds, whose consumers are there once it is started. */
final class Listening {
    private static final int RECEIVE_TIMEOUT_MS = 50;
    private static final int SHUTDOWN_TIMEOUT_MS = 2_000;

    final AbstractMessageListenerContainer container;
    /** How its consumers came to an end that nobody asked for. */
    final BlockingQueue<AmqpEvent> endings = new LinkedBlockingQueue<>();

    private Listening(AbstractMessageListenerContainer container) {
        this.container = container;
    }

    /** The listener is called by a thread of the container, which takes the messages from a queue of its own. */
    static Listening simple(
            Client client, MessageListener listener, Consumer<SimpleMessageListenerContainer> options, String... queues)
            throws InterruptedException {
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(client.factory);
        // What a stopped container waits for.
        container.setReceiveTimeout(RECEIVE_TIMEOUT_MS);
        options.accept(container);
        return start(client, container, listener, queues.length, queues);
    }

    /** The listener is called by the connection's threads. */
    static Listening direct(
            Client client, MessageListener listener, Consumer<DirectMessageListenerContainer> options, String queue)
            throws InterruptedException {
        return direct(client, listener, options, 1, queue);
    }

    static Listening direct(
            Client client,
            MessageListener listener,
            Consumer<DirectMessageListenerContainer> options,
            int consumers,
            String queue)
            throws InterruptedException {
        DirectMessageListenerContainer container = new DirectMessageListenerContainer(client.factory);
        container.setConsumersPerQueue(consumers);
        options.accept(container);
        return start(client, container, listener, consumers, queue);
    }

    static void settledByListener(AbstractMessageListenerContainer container) {
        container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
    }

    static void unsettled(AbstractMessageListenerContainer container) {
        container.setAcknowledgeMode(AcknowledgeMode.NONE);
    }

    private static Listening start(
            Client client,
            AbstractMessageListenerContainer container,
            MessageListener listener,
            int consumers,
            String... queues)
            throws InterruptedException {
        Listening listening = new Listening(container);
        CountDownLatch missing = new CountDownLatch(consumers);
        container.setQueueNames(queues);
        container.setMessageListener(listener);
        container.setShutdownTimeout(SHUTDOWN_TIMEOUT_MS);
        container.setApplicationEventPublisher(event -> {
            if (event instanceof ConsumeOkEvent) {
                missing.countDown();
            } else if (event instanceof ListenerContainerConsumerFailedEvent
                    || event instanceof ListenerContainerConsumerTerminatedEvent) {
                listening.endings.add((AmqpEvent) event);
            }
        });
        client.session.onClose(container::destroy);
        container.afterPropertiesSet();
        container.start();
        missing.await();
        return listening;
    }

    void stop() {
        container.stop();
    }
}
