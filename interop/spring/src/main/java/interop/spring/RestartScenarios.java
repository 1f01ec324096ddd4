package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.spring.Expect.awaitReady;

import com.rabbitmq.client.Channel;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.DirectExchange;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.context.support.GenericApplicationContext;

final class RestartScenarios {
    private static final int RETRY_INTERVAL_MS = 250;

    private RestartScenarios() {}

    static void survivesRestart(Session session) throws Exception {
        Client client = session.client();
        String queue = client.sharedQueue(QueueBuilder.durable(session.name("queue")));
        String key = session.name("key");
        client.bind(queue, "amq.direct", key);
        client.send(queue, numbers(5));
        Channel holder = client.factory.createConnection().createChannel(false);
        holder.basicGet(queue, false);
        holder.basicGet(queue, false);

        session.ask("restart");
        client.connectionErrors.take();
        retry(() -> equal(client.ready(queue), 5, "messages after the restart"));
        client.publish("amq.direct", key, "by the binding");
        List<String> expected = List.of("0 again", "1 again", "2", "3", "4", "by the binding");
        equal(client.drainMarked(queue), expected, "messages");
    }

    /** Until the broker is there, or the scenario's time is over. */
    private static void retry(Runnable action) throws InterruptedException {
        while (true) {
            try {
                action.run();
                return;
            } catch (AmqpException e) {
                Thread.sleep(RETRY_INTERVAL_MS);
            }
        }
    }

    /**
     * The admin declares the beans of its application context whenever a connection is opened, and the container
     * opens one. Nothing that is declared here outlives a broker.
     */
    static void automaticRecovery(Session session) throws Exception {
        Client client = session.client();
        Queue queue = QueueBuilder.nonDurable(session.name("queue")).exclusive().build();
        DirectExchange exchange = new DirectExchange(session.name("exchange"), false, true);
        GenericApplicationContext context = new GenericApplicationContext();
        context.registerBean("queue", Queue.class, () -> queue);
        context.registerBean("exchange", DirectExchange.class, () -> exchange);
        context.registerBean("binding", Binding.class, () -> BindingBuilder.bind(queue).to(exchange).with("key"));
        context.refresh();
        session.onClose(context::close);
        client.admin.setApplicationContext(context);
        client.admin.afterPropertiesSet();

        CountDownLatch reconnected = new CountDownLatch(2);
        client.factory.addConnectionListener(connection -> reconnected.countDown());
        Inbox inbox = Inbox.openSimple(client, container -> {
            container.setPrefetchCount(2);
            container.setRecoveryInterval(RETRY_INTERVAL_MS);
        }, queue.getName());
        client.publish(exchange.getName(), "key", "before");
        equal(inbox.awaitBodies(1), List.of("before"), "before the restart");

        session.ask("restart");
        reconnected.await();
        retry(() -> client.consumers(queue.getName()));
        numbers(3).forEach(number -> client.publish(exchange.getName(), "key", number));
        equal(inbox.awaitBodies(3), List.of("before", "0", "1"), "after the restart, until the prefetch");
        awaitReady(client, queue.getName(), 1);
        Inbox.Delivery first = inbox.awaitNumber(2);
        first.channel().basicAck(first.tag(), false);
        equal(inbox.awaitBodies(4).get(3), "2", "after an ack");
    }
}
