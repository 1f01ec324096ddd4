package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.eventually;
import static interop.harness.Check.isTrue;
import static interop.spring.Expect.awaitReady;
import static interop.spring.Expect.channelError;
import static interop.spring.Expect.refused;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessagePostProcessor;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.QueueInformation;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.CorrelationData;

final class QueueScenarios {
    private static final int TTL_MS = 200;
    /** Long enough that a container is started in time on a busy machine. */
    private static final int EXPIRES_MS = 1000;
    private static final int CONFIRM_TIMEOUT_S = 10;

    private QueueScenarios() {}

    private static void informationIs(Client client, String queue, int messages, int consumers, String what) {
        QueueInformation information = client.admin.getQueueInfo(queue);
        equal(information.getName(), queue, what + ": name");
        equal(information.getMessageCount(), (long) messages, what + ": ready messages");
        equal(information.getConsumerCount(), consumers, what + ": consumers");
    }

    static void queueDeclare(Session session) throws Exception {
        Client client = session.client();
        Queue queue = new Queue(session.name("queue"), false, true, false);
        for (int n = 0; n < 2; n++) {
            equal(client.admin.declareQueue(queue), queue.getName(), "name");
            informationIs(client, queue.getName(), 0, 0, "declared");
        }
        client.send(queue.getName(), "a", "b", "c");
        informationIs(client, queue.getName(), 3, 0, "passive declare");
        Inbox.open(client, queue.getName()).await(3);
        client.admin.declareQueue(queue);
        informationIs(client, queue.getName(), 0, 1, "declared with a consumer");
    }

    static void queueMismatch(Session session) throws Exception {
        Client client = session.client();
        Map<String, Object> ttl = Map.of("x-message-ttl", 60000);
        String plain = client.sharedQueue("plain");
        String limited = client.sharedQueue(QueueBuilder.nonDurable(session.name("limited")).ttl(60000));
        String flag = "received 'true' but current is 'false'";
        refused(client, 406, inequivalent("durable", plain, flag),
                () -> client.admin.declareQueue(new Queue(plain, true)));
        refused(client, 406, inequivalent("auto_delete", plain, flag),
                () -> client.admin.declareQueue(new Queue(plain, false, false, true)));
        String added = "received the value '60000' of type 'signedint' but current is none";
        refused(client, 406, inequivalent("x-message-ttl", plain, added),
                () -> client.admin.declareQueue(new Queue(plain, false, false, false, ttl)));
        String removed = "received none but current is the value '60000' of type 'signedint'";
        refused(client, 406, inequivalent("x-message-ttl", limited, removed),
                () -> client.admin.declareQueue(new Queue(limited, false)));
        refused(client, 405, ChannelScenarios.locked(plain),
                () -> client.admin.declareQueue(new Queue(plain, false, true, false)));
        client.admin.declareQueue(new Queue(limited, false, false, false, Map.of("x-message-ttl", 60000L)));
    }

    private static String inequivalent(String argument, String queue, String difference) {
        return "PRECONDITION_FAILED - inequivalent arg '" + argument + "' for queue '" + queue + "' in vhost '/': "
                + difference;
    }

    static void serverNamedQueue(Session session) {
        Client client = session.client();
        String first = client.admin.declareQueue().getName();
        isTrue(first.startsWith("amq.gen-"), "server-named queue is called " + first);
        isTrue(!client.admin.declareQueue().getName().equals(first), "two server-named queues have two names");
        String key = session.name("key");
        String last = client.template.execute(channel -> {
            String queue = channel.queueDeclare().getQueue();
            channel.queueBind("", "amq.direct", key);
            return queue;
        });
        client.publish("amq.direct", key, "to the last declared");
        equal(client.drain(last), List.of("to the last declared"), "messages");
        equal(client.drain(first), List.of(), "messages of the first");
    }

    static void queuePurgeAndDelete(Session session) {
        Client client = session.client();
        String queue = client.queue();
        client.send(queue, "a", "b", "c");
        equal(client.admin.purgeQueue(queue), 3, "purged");
        equal(client.drain(queue), List.of(), "messages after the purge");
        client.send(queue, "d", "e");
        int deleted = client.template.execute(channel -> channel.queueDelete(queue).getMessageCount());
        equal(deleted, 2, "messages deleted with the queue");
        equal(client.admin.deleteQueue(queue), true, "deleting no queue succeeds");
        int nothing = client.template.execute(channel -> channel.queueDelete(queue).getMessageCount());
        equal(nothing, 0, "messages deleted with no queue");
        equal(client.admin.deleteExchange(session.name("never declared")), true, "deleting no exchange succeeds");
    }

    static void exclusiveQueue(Session session) throws Exception {
        Client owner = session.client();
        String queue = owner.queue();
        owner.factory.destroy();
        channelError(session.client(), 404, "NOT_FOUND - no queue '" + queue + "' in vhost '/'",
                channel -> channel.queueDeclarePassive(queue));
    }

    static void autoDeleteQueue(Session session) throws Exception {
        Client client = session.client();
        String queue = client.sharedQueue(QueueBuilder.nonDurable(session.name("queue")).autoDelete());
        client.send(queue, "without a consumer");
        Inbox first = Inbox.open(client, queue);
        Inbox last = Inbox.open(client, queue);
        first.stop();
        equal(client.consumers(queue), 1, "consumers");
        last.stop();
        eventually(() -> client.admin.getQueueInfo(queue) == null, "the queue is gone");
    }

    static void messageTtl(Session session) throws Exception {
        Client client = session.client();
        String brief = client.queue("brief", builder -> builder.ttl(TTL_MS));
        String lasting = client.queue("lasting", builder -> builder.ttl(60_000));
        long publishedNanos = System.nanoTime();
        client.scoped(operations -> {
            operations.convertAndSend("", brief, "of the queue");
            operations.convertAndSend("", brief, "of the queue, being shorter", expiring("60000"));
            operations.convertAndSend("", lasting, "of the message", expiring(String.valueOf(TTL_MS)));
            operations.convertAndSend("", lasting, "young", expiring("50000"));
            operations.convertAndSend("", lasting, "young too");
        });
        awaitReady(client, brief, 0);
        hasPassed(publishedNanos, TTL_MS, "the TTL of the queue");
        awaitReady(client, lasting, 2);
        hasPassed(publishedNanos, TTL_MS, "the expiration of the message");
        equal(client.drain(lasting), List.of("young", "young too"), "younger messages");

        refused(client, 406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
                () -> client.template.convertAndSend("", lasting, "refused", expiring("soon")));
        equal(client.drain(lasting), List.of(), "messages after the refused publish");
    }

    private static void hasPassed(long sinceNanos, int timeMs, String what) {
        long passedMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - sinceNanos);
        isTrue(passedMs >= timeMs, what + ", " + timeMs + " ms, has passed after " + passedMs + " ms");
    }

    static MessagePostProcessor expiring(String expiration) {
        return message -> {
            message.getMessageProperties().setExpiration(expiration);
            return message;
        };
    }

    static void queueExpires(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        client.template.setMandatory(true);
        String used = client.queue("used", builder -> builder.expires(EXPIRES_MS));
        Inbox inbox = Inbox.openNoAck(client, used);
        long declaredNanos = System.nanoTime();
        String unused = client.queue("unused", builder -> builder.expires(EXPIRES_MS));
        eventually(() -> !reachable(client, unused), "the unused queue is gone");
        hasPassed(declaredNanos, EXPIRES_MS, "the time of the unused queue");
        isTrue(reachable(client, used), "the queue with a consumer is still there");
        equal(client.consumers(used), 1, "its consumers");
        long stoppedNanos = System.nanoTime();
        inbox.stop();
        eventually(() -> !reachable(client, used), "the queue whose consumer has left is gone");
        hasPassed(stoppedNanos, EXPIRES_MS, "the time of the queue without its consumer");
    }

    /** Asked with a mandatory message, since a passive declare is a use of the queue. */
    private static boolean reachable(Client client, String queue) throws Exception {
        CorrelationData question = new CorrelationData();
        client.template.convertAndSend("", queue, "anybody there?", question);
        equal(question.getFuture().get(CONFIRM_TIMEOUT_S, TimeUnit.SECONDS).ack(), true, "confirm");
        return question.getReturned() == null;
    }

    static void maxLength(Session session) {
        Client client = session.client();
        String counted = client.queue("counted", builder -> builder.maxLength(3));
        client.send(counted, "1", "2", "3", "4", "5");
        equal(client.drain(counted), List.of("3", "4", "5"), "at most three messages");
        String weighed = client.queue("weighed", builder -> builder.maxLengthBytes(10));
        client.send(weighed, "one.", "two.", "three.", "four");
        equal(client.drain(weighed), List.of("three.", "four"), "at most ten bytes");
    }

    static void priorityQueue(Session session) {
        Client client = session.client();
        String queue = client.queue("queue", builder -> builder.maxPriority(10));
        List<String> messages = List.of(
                "none a", "1 a", "5 a", "10 a", "200 a", "5 b", "0 a", "10 b", "1 b", "none b");
        client.scoped(operations -> messages.forEach(message -> {
            String priority = message.substring(0, message.indexOf(' '));
            operations.convertAndSend("", queue, message, own -> {
                own.getMessageProperties().setPriority(priority.equals("none") ? null : Integer.valueOf(priority));
                return own;
            });
        }));
        List<String> expected =
                List.of("10 a", "200 a", "10 b", "5 a", "5 b", "1 a", "1 b", "none a", "0 a", "none b");
        equal(client.drain(queue), expected, "order");
    }

    static void singleActiveConsumer(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue("queue", builder -> builder.singleActiveConsumer());
        Inbox active = Inbox.openNoAck(client, queue);
        Inbox next = Inbox.openNoAck(client, queue);
        client.send(queue, numbers(10));
        equal(active.awaitBodies(10), numbers(10), "messages of the active consumer");
        equal(next.received().size(), 0, "messages of the one that waits");
        active.stop();
        client.send(queue, "taken over");
        equal(next.awaitBodies(1), List.of("taken over"), "messages of the next consumer");
        equal(active.received().size(), 10, "messages of the one that left");
    }

    /** A listener that throws sends its message back. */
    static void quorumQueue(Session session) throws Exception {
        Client client = session.client();
        String dead = client.queue("dead");
        String queue = client.sharedQueue(QueueBuilder.durable(session.name("queue"))
                .quorum()
                .deliveryLimit(2)
                .deadLetterExchange("")
                .deadLetterRoutingKey(dead));
        List<String> attempts = new CopyOnWriteArrayList<>();
        Listening.simple(client, message -> {
            Object count = message.getMessageProperties().getHeader("x-delivery-count");
            attempts.add(Client.marked(message) + " " + count);
            throw new IllegalStateException("poison");
        }, container -> {}, queue);
        client.send(queue, "poison");
        Message letter = Inbox.openNoAck(client, dead).awaitNumber(1).message();
        equal(new ArrayList<>(attempts), List.of("poison null", "poison again 1", "poison again 2"), "deliveries");
        equal(DeadLetterScenarios.deaths(letter), List.of(queue + " delivery_limit 1"), "x-death");
    }

    static void longAndUnicodeNames(Session session) {
        Client client = session.client();
        String start = session.name("long");
        String longName = start + "x".repeat(255 - start.length());
        equal(client.admin.declareQueue(new Queue(longName, false, true, false)), longName, "long name");
        client.send(longName, "long");
        equal(client.drain(longName), List.of("long"), "messages of the long name");

        String queue = client.queue("зайчонок-野兎-🐇");
        equal(queue, session.name("зайчонок-野兎-🐇"), "name outside ASCII");
        String exchange = client.exchange("topic", "größe");
        client.bind(queue, exchange, "straße.*");
        client.publish(exchange, "straße.жук", "unicode");
        Message message = client.template.receive(queue);
        equal(message.getMessageProperties().getReceivedExchange(), exchange, "exchange");
        equal(message.getMessageProperties().getReceivedRoutingKey(), "straße.жук", "routing key");
        equal(Client.text(message), "unicode", "body");
    }
}
