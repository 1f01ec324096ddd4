package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drain;
import static interop.Amqp.publish;
import static interop.Amqp.send;
import static interop.Amqp.text;
import static interop.Expect.awaitReady;
import static interop.Expect.channelError;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.eventually;
import static interop.harness.Check.isTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.ReturnListener;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

final class QueueScenarios {
    private static final int TTL_MS = 200;
    /** Long enough that its consumer comes in time on a busy machine. */
    private static final int EXPIRES_MS = 500;

    private QueueScenarios() {}

    private static void declared(
            AMQP.Queue.DeclareOk declareOk, String queue, int messages, int consumers, String what) {
        equal(declareOk.getQueue(), queue, what + ": name");
        equal(declareOk.getMessageCount(), messages, what + ": ready messages");
        equal(declareOk.getConsumerCount(), consumers, what + ": consumers");
    }

    static void queueDeclare(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.name("queue");
        for (int n = 0; n < 2; n++) {
            declared(channel.queueDeclare(queue, false, true, false, null), queue, 0, 0, "declare");
        }
        send(channel, queue, "a", "b", "c");
        awaitReady(channel, queue, 3);
        declared(channel.queueDeclarePassive(queue), queue, 3, 0, "passive declare");
        Inbox.open(channel, queue).await(3);
        declared(channel.queueDeclare(queue, false, true, false, null), queue, 0, 1, "declare with a consumer");
        equal(channel.consumerCount(queue), 1L, "consumers");
    }

    static void queueMismatch(Session session) throws Exception {
        Connection connection = session.connect();
        Channel owner = connection.createChannel();
        Map<String, Object> ttl = Map.of("x-message-ttl", 60000);
        String plain = session.sharedQueue(owner, "plain");
        String limited = session.sharedQueue(owner, "limited", false, false, ttl);
        String flag = "received 'true' but current is 'false'";
        channelError(connection, 406, inequivalent("durable", plain, flag),
                channel -> channel.queueDeclare(plain, true, false, false, null));
        channelError(connection, 406, inequivalent("auto_delete", plain, flag),
                channel -> channel.queueDeclare(plain, false, false, true, null));
        String added = "received the value '60000' of type 'signedint' but current is none";
        channelError(connection, 406, inequivalent("x-message-ttl", plain, added),
                channel -> channel.queueDeclare(plain, false, false, false, ttl));
        String removed = "received none but current is the value '60000' of type 'signedint'";
        channelError(connection, 406, inequivalent("x-message-ttl", limited, removed),
                channel -> channel.queueDeclare(limited, false, false, false, null));
        channelError(connection, 405, ChannelScenarios.locked(plain),
                channel -> channel.queueDeclare(plain, false, true, false, null));
        owner.queueDeclare(limited, false, false, false, Map.of("x-message-ttl", 60000L));
    }

    private static String inequivalent(String argument, String queue, String difference) {
        return "PRECONDITION_FAILED - inequivalent arg '" + argument + "' for queue '" + queue + "' in vhost '/': "
                + difference;
    }

    static void serverNamedQueue(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = channel.queueDeclare().getQueue();
        isTrue(queue.startsWith("amq.gen-"), "server-named queue is called " + queue);
        isTrue(!channel.queueDeclare().getQueue().equals(queue), "two server-named queues have two names");
        channel.queueDeclarePassive(queue);
        channel.queueBind("", "amq.direct", session.name("key"));
        publish(channel, "amq.direct", session.name("key"), "to the last declared");
        equal(drain(channel, queue), List.of("to the last declared"), "messages");
    }

    static void queuePurgeAndDelete(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        send(channel, queue, "a", "b", "c");
        equal(channel.queuePurge(queue).getMessageCount(), 3, "purged");
        equal(drain(channel, queue), List.of(), "messages after the purge");
        send(channel, queue, "d", "e");
        equal(channel.queueDelete(queue).getMessageCount(), 2, "messages deleted with the queue");
        equal(channel.queueDelete(queue).getMessageCount(), 0, "messages deleted with no queue");
        channel.exchangeDelete(session.name("never declared"));
    }

    static void exclusiveQueue(Session session) throws Exception {
        Connection connection = session.connect();
        String queue = session.queue(connection.createChannel());
        connection.close();
        channelError(session.connect(), 404, "NOT_FOUND - no queue '" + queue + "' in vhost '/'",
                channel -> channel.queueDeclarePassive(queue));
    }

    static void autoDeleteQueue(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.sharedQueue(channel, "queue", false, true, Map.of());
        send(channel, queue, "without a consumer");
        Inbox first = Inbox.open(channel, queue);
        Inbox last = Inbox.open(channel, queue);
        channel.basicCancel(first.tag());
        equal(channel.consumerCount(queue), 1L, "consumers");
        channel.basicCancel(last.tag());
        eventually(() -> !exists(connection, queue), "the queue is gone");
    }

    private static boolean exists(Connection connection, String queue) throws IOException {
        try {
            connection.createChannel().queueDeclarePassive(queue);
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    static void messageTtl(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String brief = session.queue(channel, "brief", Map.of("x-message-ttl", TTL_MS));
        String lasting = session.queue(channel, "lasting", Map.of("x-message-ttl", 60_000));
        long publishedNanos = System.nanoTime();
        channel.confirmSelect();
        send(channel, brief, "of the queue");
        channel.basicPublish("", brief, expiring("60000"), bytes("of the queue, being shorter"));
        channel.basicPublish("", lasting, expiring(String.valueOf(TTL_MS)), bytes("of the message"));
        channel.basicPublish("", lasting, expiring("50000"), bytes("young"));
        send(channel, lasting, "young too");
        channel.waitForConfirmsOrDie();
        awaitReady(channel, brief, 0);
        hasPassed(publishedNanos, TTL_MS, "the TTL of the queue");
        awaitReady(channel, lasting, 2);
        hasPassed(publishedNanos, TTL_MS, "the expiration of the message");
        equal(drain(channel, lasting), List.of("young", "young too"), "younger messages");

        channelError(connection, 406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
                careless -> careless.basicPublish("", lasting, expiring("soon"), bytes("refused")));
        equal(drain(channel, lasting), List.of(), "messages after the refused publish");
    }

    private static void hasPassed(long sinceNanos, int timeMs, String what) {
        long passedMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - sinceNanos);
        isTrue(passedMs >= timeMs, what + ", " + timeMs + " ms, has passed after " + passedMs + " ms");
    }

    static AMQP.BasicProperties expiring(String expiration) {
        return new AMQP.BasicProperties.Builder().expiration(expiration).build();
    }

    static void queueExpires(Session session) throws Exception {
        Channel channel = session.channel();
        Channel prober = session.channel();
        Map<String, Object> expires = Map.of("x-expires", EXPIRES_MS);
        String used = session.sharedQueue(channel, "used", false, false, expires);
        Inbox inbox = Inbox.openNoAck(channel, used);
        long declaredNanos = System.nanoTime();
        String unused = session.sharedQueue(channel, "unused", false, false, expires);
        eventually(() -> !reachable(prober, unused), "the unused queue is gone");
        hasPassed(declaredNanos, EXPIRES_MS, "the time of the unused queue");
        isTrue(reachable(prober, used), "the queue with a consumer is still there");
        equal(channel.queueDeclarePassive(used).getConsumerCount(), 1, "its consumers");
        long cancelledNanos = System.nanoTime();
        channel.basicCancel(inbox.tag());
        eventually(() -> !reachable(prober, used), "the queue whose consumer has left is gone");
        hasPassed(cancelledNanos, EXPIRES_MS, "the time of the queue without its consumer");
    }

    /** Asked with a mandatory message, since a passive declare is a use of the queue. */
    private static boolean reachable(Channel channel, String queue) throws Exception {
        AtomicBoolean returned = new AtomicBoolean();
        ReturnListener listener = channel.addReturnListener(message -> returned.set(true));
        channel.confirmSelect();
        channel.basicPublish("", queue, true, null, bytes("anybody there?"));
        channel.waitForConfirmsOrDie();
        channel.removeReturnListener(listener);
        return !returned.get();
    }

    static void maxLength(Session session) throws Exception {
        Channel channel = session.channel();
        String counted = session.queue(channel, "counted", Map.of("x-max-length", 3));
        send(channel, counted, "1", "2", "3", "4", "5");
        equal(drain(channel, counted), List.of("3", "4", "5"), "at most three messages");
        String weighed = session.queue(channel, "weighed", Map.of("x-max-length-bytes", 10));
        send(channel, weighed, "one.", "two.", "three.", "four");
        equal(drain(channel, weighed), List.of("three.", "four"), "at most ten bytes");
    }

    static void priorityQueue(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel, "queue", Map.of("x-max-priority", 10));
        send(channel, queue, "none a");
        for (String message : List.of("1 a", "5 a", "10 a", "200 a", "5 b", "0 a", "10 b", "1 b")) {
            int priority = Integer.parseInt(message.substring(0, message.indexOf(' ')));
            AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().priority(priority).build();
            channel.basicPublish("", queue, properties, bytes(message));
        }
        send(channel, queue, "none b");
        List<String> expected =
                List.of("10 a", "200 a", "10 b", "5 a", "5 b", "1 a", "1 b", "none a", "0 a", "none b");
        equal(drain(channel, queue), expected, "order");
    }

    static void singleActiveConsumer(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel, "queue", Map.of("x-single-active-consumer", true));
        Inbox active = Inbox.openNoAck(channel, queue);
        Inbox next = Inbox.openNoAck(channel, queue);
        send(channel, queue, numbers(10));
        equal(active.awaitBodies(10), numbers(10), "messages of the active consumer");
        equal(next.received().size(), 0, "messages of the one that waits");
        channel.basicCancel(active.tag());
        send(channel, queue, "taken over");
        equal(next.awaitBodies(1), List.of("taken over"), "messages of the next consumer");
        equal(active.received().size(), 10, "messages of the one that left");
    }

    static void quorumQueue(Session session) throws Exception {
        Channel channel = session.channel();
        String dead = session.queue(channel, "dead");
        Map<String, Object> arguments = Map.of(
                "x-queue-type", "quorum",
                "x-delivery-limit", 2,
                "x-dead-letter-exchange", "",
                "x-dead-letter-routing-key", dead);
        String queue = session.sharedQueue(channel, "queue", true, false, arguments);
        Inbox deadInbox = Inbox.openNoAck(channel, dead);
        Inbox inbox = Inbox.open(channel, queue);
        send(channel, queue, "poison");
        List<String> counts = new ArrayList<>();
        for (int n = 1; n <= 3; n++) {
            Delivery delivery = inbox.await(n).get(n - 1);
            Map<String, Object> headers = delivery.getProperties().getHeaders();
            counts.add(headers == null ? "none" : String.valueOf(headers.get("x-delivery-count")));
            channel.basicNack(delivery.getEnvelope().getDeliveryTag(), false, true);
        }
        equal(counts, List.of("none", "1", "2"), "x-delivery-count");
        equal(inbox.redelivered(), List.of(false, true, true), "redelivered");
        Delivery letter = deadInbox.await(1).get(0);
        equal(Inbox.body(letter), "poison", "dead letter");
        equal(DeadLetterScenarios.deaths(letter.getProperties()), List.of(queue + " delivery_limit 1"), "x-death");
        equal(inbox.received().size(), 3, "deliveries");
    }

    static void longAndUnicodeNames(Session session) throws Exception {
        Channel channel = session.channel();
        String start = session.name("long");
        String longName = start + "x".repeat(255 - start.length());
        equal(channel.queueDeclare(longName, false, true, false, null).getQueue(), longName, "long name");
        send(channel, longName, "long");
        equal(drain(channel, longName), List.of("long"), "messages of the long name");

        String queue = session.queue(channel, "зайчонок-野兎-🐇");
        equal(queue, session.name("зайчонок-野兎-🐇"), "name outside ASCII");
        String exchange = session.exchange(channel, "topic", "größe");
        channel.queueBind(queue, exchange, "straße.*");
        publish(channel, exchange, "straße.жук", "unicode");
        GetResponse message = channel.basicGet(queue, true);
        equal(message.getEnvelope().getExchange(), exchange, "exchange");
        equal(message.getEnvelope().getRoutingKey(), "straße.жук", "routing key");
        equal(text(message), "unicode", "body");
    }
}
