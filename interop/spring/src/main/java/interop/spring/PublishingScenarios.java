package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.eventually;
import static interop.harness.Check.isTrue;
import static interop.spring.Expect.awaitReady;
import static interop.spring.Expect.refused;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.core.MessagePostProcessor;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.ReturnedMessage;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.ConnectionBlockedEvent;
import org.springframework.amqp.rabbit.connection.ConnectionUnblockedEvent;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitTemplate;

final class PublishingScenarios {
    private static final int CONFIRM_TIMEOUT_S = 10;
    private static final int BETWEEN_PUBLISHES_MS = 20;
    private static final int BLOCKED_MS = 300;

    private PublishingScenarios() {}

    /** Publishes a message and waits for its confirm. */
    static void confirmed(Client client, String exchange, String key, String body) throws Exception {
        CorrelationData correlation = new CorrelationData();
        client.template.convertAndSend(exchange, key, body, correlation);
        equal(isAcked(correlation), true, "confirm");
    }

    private static boolean isAcked(CorrelationData correlation) throws Exception {
        return correlation.getFuture().get(CONFIRM_TIMEOUT_S, TimeUnit.SECONDS).ack();
    }

    private static MessagePostProcessor persistence(int n) {
        MessageDeliveryMode mode = n % 2 == 1 ? MessageDeliveryMode.PERSISTENT : MessageDeliveryMode.NON_PERSISTENT;
        return message -> {
            message.getMessageProperties().setDeliveryMode(mode);
            return message;
        };
    }

    static void publisherConfirms(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        String queue = client.sharedQueue(QueueBuilder.durable(session.name("queue")));
        Map<String, Integer> confirms = new ConcurrentHashMap<>();
        client.template.setConfirmCallback(
                (correlation, ack, cause) -> confirms.merge(correlation.getId(), 1, Integer::sum));
        for (int n = 0; n < 100; n++) {
            CorrelationData correlation = new CorrelationData(String.valueOf(n));
            client.template.convertAndSend("", queue, "one by one", persistence(n), correlation);
            equal(isAcked(correlation), true, "confirm");
        }
        awaitReady(client, queue, 100);

        List<CorrelationData> outstanding = new ArrayList<>();
        for (int n = 100; n < 1000; n++) {
            outstanding.add(new CorrelationData(String.valueOf(n)));
            client.template.convertAndSend(
                    "", queue, "all together", persistence(n), outstanding.get(outstanding.size() - 1));
        }
        for (CorrelationData correlation : outstanding) {
            equal(isAcked(correlation), true, "confirm");
        }
        awaitReady(client, queue, 1000);
        Map<String, Integer> onceEach =
                numbers(1000).stream().collect(Collectors.toMap(number -> number, number -> 1));
        eventually(() -> confirms.equals(onceEach), "each message is confirmed once");
    }

    static void confirmUnroutable(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        confirmed(client, "", session.name("nobody"), "nowhere to go");
        confirmed(client, "amq.fanout", session.name("nobody"), "nowhere to go");
    }

    static void mandatoryReturn(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        String queue = client.queue();
        BlockingQueue<ReturnedMessage> returned = new LinkedBlockingQueue<>();
        client.template.setMandatory(true);
        client.template.setReturnsCallback(returned::add);
        confirmed(client, "", queue, "routed");
        RabbitTemplate careless = new RabbitTemplate(client.factory);
        CorrelationData gone = new CorrelationData();
        careless.convertAndSend("amq.direct", session.name("nobody"), "not mandatory", gone);
        equal(isAcked(gone), true, "confirm of what is not mandatory");
        equal(gone.getReturned(), null, "what is not mandatory and returned");

        MessageProperties properties = new MessageProperties();
        properties.setMessageId("lost");
        properties.setHeader("kept", "yes");
        CorrelationData lost = new CorrelationData();
        client.template.send("amq.direct", session.name("nobody"), new Message("lost".getBytes(), properties), lost);
        ReturnedMessage message = returned.take();
        equal(message.getReplyCode() + " " + message.getReplyText(), "312 NO_ROUTE", "return");
        equal(message.getExchange(), "amq.direct", "exchange");
        equal(message.getRoutingKey(), session.name("nobody"), "routing key");
        equal(message.getMessage().getMessageProperties().getMessageId(), "lost", "message id");
        equal(message.getMessage().getMessageProperties().<String>getHeader("kept"), "yes", "header");
        equal(Client.text(message.getMessage()), "lost", "body");
        equal(isAcked(lost), true, "confirm of the returned");
        equal(Client.text(lost.getReturned().getMessage()), "lost", "the message that its correlation knows");
        equal(client.drain(queue), List.of("routed"), "routed");
        equal(returned.size(), 0, "further returns");
    }

    static void returnBeforeConfirm(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        String queue = client.queue();
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        client.template.setMandatory(true);
        client.template.setReturnsCallback(message -> events.add("returned " + Client.text(message.getMessage())));
        client.template.setConfirmCallback(
                (correlation, ack, cause) -> events.add((ack ? "confirmed " : "nacked ") + correlation.getId()));
        for (String number : numbers(20)) {
            CorrelationData lost = new CorrelationData("lost " + number);
            client.template.convertAndSend("", session.name("nobody"), number, lost);
            equal(events.take(), "returned " + number, "first event");
            equal(events.take(), "confirmed lost " + number, "second event");
            client.template.convertAndSend("", queue, number, new CorrelationData("routed " + number));
            equal(events.take(), "confirmed routed " + number, "event of a routed message");
        }
        equal(client.drain(queue), numbers(20), "routed messages");
    }

    static void nackedPublish(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        String queue = client.queue(
                "queue", builder -> builder.maxLength(3).overflow(QueueBuilder.Overflow.rejectPublish));
        List<CorrelationData> correlations = new ArrayList<>();
        client.template.invoke(operations -> {
            for (String number : numbers(5)) {
                correlations.add(new CorrelationData(number));
                operations.convertAndSend("", queue, number, correlations.get(correlations.size() - 1));
            }
            return null;
        });
        List<Boolean> acked = new ArrayList<>();
        for (CorrelationData correlation : correlations) {
            acked.add(isAcked(correlation));
        }
        equal(acked, List.of(true, true, true, false, false), "confirmed");
        equal(client.drain(queue), numbers(3), "messages");
    }

    /** The broker stops reading from a connection that publishes while the alarm is on. */
    static void connectionBlocked(Session session) throws Exception {
        Client observer = session.client();
        String queue = observer.sharedQueue();
        Inbox inbox = Inbox.openNoAck(observer, queue);
        CompletableFuture<String> blocked = new CompletableFuture<>();
        CompletableFuture<Void> unblocked = new CompletableFuture<>();
        CachingConnectionFactory factory = session.connectionFactory();
        factory.setApplicationEventPublisher(event -> {
            if (event instanceof ConnectionBlockedEvent) {
                blocked.complete(((ConnectionBlockedEvent) event).getReason());
            } else if (event instanceof ConnectionUnblockedEvent) {
                unblocked.complete(null);
            }
        });
        Client publisher = session.client(factory);
        List<String> sent = new ArrayList<>();
        session.ask("block");
        try {
            while (!blocked.isDone()) {
                sent.add("before " + sent.size());
                publisher.send(queue, sent.get(sent.size() - 1));
                Thread.sleep(BETWEEN_PUBLISHES_MS);
            }
            equal(blocked.get(), "low on memory", "reason");
            sent.add("while blocked");
            publisher.send(queue, "while blocked");
            Thread.sleep(BLOCKED_MS);
            List<String> received =
                    inbox.received().stream().map(Inbox.Delivery::body).collect(Collectors.toList());
            isTrue(!received.contains("while blocked"), "what was published while blocked waits");
            isTrue(!unblocked.isDone(), "still blocked");
        } finally {
            session.ask("unblock");
        }
        unblocked.get();
        equal(inbox.awaitBodies(sent.size()), sent, "messages");
    }

    static void userId(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        String user = client.factory.getUsername();
        client.scoped(operations -> {
            operations.convertAndSend("", queue, "anonymous");
            operations.convertAndSend("", queue, "signed", signedBy(user));
        });
        equal(client.drain(queue), List.of("anonymous", "signed"), "messages");
        String refusal = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '"
                + user + "'";
        refused(client, 406, refusal, () -> client.template.convertAndSend("", queue, "forged", signedBy("somebody")));
        equal(client.drain(queue), List.of(), "forged messages");
    }

    private static MessagePostProcessor signedBy(String user) {
        return message -> {
            message.getMessageProperties().setUserId(user);
            return message;
        };
    }
}
