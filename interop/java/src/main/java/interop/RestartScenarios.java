package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drainMarked;
import static interop.Amqp.publish;
import static interop.Expect.awaitReady;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeoutException;

final class RestartScenarios {
    private static final int RETRY_INTERVAL_MS = 250;

    private RestartScenarios() {}

    static void survivesRestart(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.sharedQueue(channel, "queue", true, false, Map.of());
        String key = session.name("key");
        channel.queueBind(queue, "amq.direct", key);
        channel.confirmSelect();
        for (String number : numbers(5)) {
            channel.basicPublish("", queue, MessageProperties.MINIMAL_PERSISTENT_BASIC, bytes(number));
        }
        channel.waitForConfirmsOrDie();
        channel.basicQos(2);
        Inbox.open(channel, queue).await(2);

        CompletableFuture<Void> closed = new CompletableFuture<>();
        connection.addShutdownListener(reason -> closed.complete(null));
        session.ask("restart");
        closed.get();
        Channel again = reconnect(session).createChannel();
        equal(again.queueDeclarePassive(queue).getMessageCount(), 5, "messages after the restart");
        publish(again, "amq.direct", key, "by the binding");
        List<String> expected = List.of("0 again", "1 again", "2", "3", "4", "by the binding");
        equal(drainMarked(again, queue), expected, "messages");
    }

    /** Until the scenario's time is over. */
    private static Connection reconnect(Session session) throws Exception {
        while (true) {
            try {
                return session.connect();
            } catch (IOException | TimeoutException e) {
                Thread.sleep(RETRY_INTERVAL_MS);
            }
        }
    }

    /** Nothing that is declared here outlives a broker, so that the client must declare it again. */
    static void automaticRecovery(Session session) throws Exception {
        ConnectionFactory factory = session.factory();
        factory.setAutomaticRecoveryEnabled(true);
        factory.setTopologyRecoveryEnabled(true);
        factory.setNetworkRecoveryInterval(RETRY_INTERVAL_MS);
        Connection connection = session.connect(factory);
        Channel channel = connection.createChannel();
        channel.basicQos(2);
        String exchange = session.exchange(channel, "direct");
        String queue = session.queue(channel);
        channel.queueBind(queue, exchange, "key");
        Inbox inbox = Inbox.open(channel, queue);
        publish(channel, exchange, "key", "before");
        equal(inbox.awaitBodies(1), List.of("before"), "before the restart");

        CompletableFuture<Void> recovered = new CompletableFuture<>();
        ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
            @Override
            public void handleRecoveryStarted(Recoverable recoverable) {}

            @Override
            public void handleRecovery(Recoverable recoverable) {
                recovered.complete(null);
            }
        });
        session.ask("restart");
        recovered.get();
        for (String number : numbers(3)) {
            publish(channel, exchange, "key", number);
        }
        equal(inbox.awaitBodies(3), List.of("before", "0", "1"), "after the restart, until the prefetch");
        awaitReady(channel, queue, 1);
        channel.basicAck(inbox.tags().get(1), false);
        equal(inbox.awaitBodies(4).get(3), "2", "after an ack");
    }
}
