package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drain;
import static interop.Amqp.send;
import static interop.Expect.awaitReady;
import static interop.Expect.channelError;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConfirmCallback;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.impl.LongStringHelper;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;

final class PublishingScenarios {
    private static final int BETWEEN_PUBLISHES_MS = 20;
    private static final int BLOCKED_MS = 300;

    private PublishingScenarios() {}

    private static AMQP.BasicProperties persistence(int n) {
        return n % 2 == 1 ? MessageProperties.MINIMAL_PERSISTENT_BASIC : MessageProperties.MINIMAL_BASIC;
    }

    static void publisherConfirms(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.sharedQueue(channel, "queue", true, false, Map.of());
        channel.confirmSelect();
        for (int n = 0; n < 100; n++) {
            channel.basicPublish("", queue, persistence(n), bytes("one by one"));
            channel.waitForConfirmsOrDie();
        }
        awaitReady(channel, queue, 100);

        Channel asynchronous = channel.getConnection().createChannel();
        asynchronous.confirmSelect();
        NavigableSet<Long> outstanding = new ConcurrentSkipListSet<>();
        CountDownLatch unconfirmed = new CountDownLatch(900);
        Set<Long> confirmed = new ConcurrentSkipListSet<>();
        asynchronous.addConfirmListener(settling(outstanding, confirmed, unconfirmed), (tag, multiple) -> {});
        for (int n = 0; n < 900; n++) {
            outstanding.add(asynchronous.getNextPublishSeqNo());
            asynchronous.basicPublish("", queue, persistence(n), bytes("all together"));
        }
        unconfirmed.await();
        awaitReady(channel, queue, 1000);
    }

    static void confirmUnroutable(Session session) throws Exception {
        Channel channel = session.channel();
        channel.confirmSelect();
        channel.basicPublish("", session.name("nobody"), null, bytes("nowhere to go"));
        channel.basicPublish("amq.fanout", session.name("nobody"), null, bytes("nowhere to go"));
        isTrue(channel.waitForConfirms(), "both were acknowledged");
    }

    static void mandatoryReturn(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        CompletableFuture<Return> returned = new CompletableFuture<>();
        channel.addReturnListener(returned::complete);
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                .messageId("lost")
                .headers(Map.of("kept", LongStringHelper.asLongString("yes")))
                .build();
        channel.basicPublish("", queue, true, null, bytes("routed"));
        channel.basicPublish("amq.direct", session.name("nobody"), null, bytes("not mandatory"));
        channel.basicPublish("amq.direct", session.name("nobody"), true, properties, bytes("lost"));
        Return message = returned.get();
        equal(message.getReplyCode() + " " + message.getReplyText(), "312 NO_ROUTE", "return");
        equal(message.getExchange(), "amq.direct", "exchange");
        equal(message.getRoutingKey(), session.name("nobody"), "routing key");
        equal(message.getProperties(), properties, "properties");
        equal(new String(message.getBody()), "lost", "body");
        equal(drain(channel, queue), List.of("routed"), "routed");
    }

    static void returnBeforeConfirm(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        channel.confirmSelect();
        channel.addReturnListener(message -> events.add("returned " + new String(message.getBody())));
        channel.addConfirmListener((tag, multiple) -> events.add("confirmed"), (tag, multiple) -> events.add("nacked"));
        for (int n = 0; n < 20; n++) {
            channel.basicPublish("", session.name("nobody"), true, null, bytes(String.valueOf(n)));
            equal(events.take(), "returned " + n, "first event");
            equal(events.take(), "confirmed", "second event");
            channel.basicPublish("", queue, true, null, bytes("routed"));
            equal(events.take(), "confirmed", "event of a routed message");
        }
        equal(drain(channel, queue).size(), 20, "routed messages");
    }

    static void nackedPublish(Session session) throws Exception {
        Channel channel = session.channel();
        Map<String, Object> limits = Map.of("x-max-length", 3, "x-overflow", "reject-publish");
        String queue = session.queue(channel, "queue", limits);
        channel.confirmSelect();
        NavigableSet<Long> outstanding = new ConcurrentSkipListSet<>();
        Set<Long> confirmed = new ConcurrentSkipListSet<>();
        Set<Long> refused = new ConcurrentSkipListSet<>();
        CountDownLatch unsettled = new CountDownLatch(5);
        channel.addConfirmListener(
                settling(outstanding, confirmed, unsettled), settling(outstanding, refused, unsettled));
        for (String number : numbers(5)) {
            outstanding.add(channel.getNextPublishSeqNo());
            send(channel, queue, number);
        }
        unsettled.await();
        equal(confirmed, Set.of(1L, 2L, 3L), "confirmed");
        equal(refused, Set.of(4L, 5L), "nacked");
        equal(drain(channel, queue), numbers(3), "messages");
    }

    /** Moves what a confirm is about from the outstanding to the settled. */
    private static ConfirmCallback settling(NavigableSet<Long> outstanding, Set<Long> settled, CountDownLatch left) {
        return (tag, multiple) -> {
            List<Long> numbers = multiple ? List.copyOf(outstanding.headSet(tag, true)) : List.of(tag);
            for (long number : numbers) {
                if (outstanding.remove(number)) {
                    settled.add(number);
                    left.countDown();
                }
            }
        };
    }

    /** The broker stops reading from a connection that publishes while the alarm is on. */
    static void connectionBlocked(Session session) throws Exception {
        Channel observer = session.channel();
        String queue = session.sharedQueue(observer, "queue");
        Inbox inbox = Inbox.openNoAck(observer, queue);
        Connection connection = session.connect();
        CompletableFuture<String> blocked = new CompletableFuture<>();
        CompletableFuture<Void> unblocked = new CompletableFuture<>();
        connection.addBlockedListener(blocked::complete, () -> unblocked.complete(null));
        Channel publisher = connection.createChannel();
        List<String> sent = new ArrayList<>();
        session.ask("block");
        try {
            while (!blocked.isDone()) {
                sent.add("before " + sent.size());
                send(publisher, queue, sent.get(sent.size() - 1));
                Thread.sleep(BETWEEN_PUBLISHES_MS);
            }
            equal(blocked.get(), "low on memory", "reason");
            sent.add("while blocked");
            send(publisher, queue, "while blocked");
            Thread.sleep(BLOCKED_MS);
            isTrue(!bodies(inbox).contains("while blocked"), "what was published while blocked waits");
            isTrue(!unblocked.isDone(), "still blocked");
        } finally {
            session.ask("unblock");
        }
        unblocked.get();
        equal(inbox.awaitBodies(sent.size()), sent, "messages");
    }

    private static List<String> bodies(Inbox inbox) {
        return inbox.received().stream().map(Inbox::body).collect(Collectors.toList());
    }

    static void userId(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        String user = session.factory().getUsername();
        send(channel, queue, "anonymous");
        channel.basicPublish("", queue, signedBy(user), bytes("signed"));
        equal(drain(channel, queue), List.of("anonymous", "signed"), "messages");
        String refusal = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '"
                + user + "'";
        channelError(connection, 406, refusal,
                forger -> forger.basicPublish("", queue, signedBy("somebody"), bytes("forged")));
        equal(drain(channel, queue), List.of(), "forged messages");
    }

    private static AMQP.BasicProperties signedBy(String user) {
        return new AMQP.BasicProperties.Builder().userId(user).build();
    }
}
