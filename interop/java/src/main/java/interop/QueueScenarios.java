package interop;

import static interop.Amqp.drain;
import static interop.Amqp.publish;
import static interop.Amqp.send;
import static interop.Amqp.text;
import static interop.Expect.awaitReady;
import static interop.Expect.channelError;
import static interop.Expect.equal;
import static interop.Expect.eventually;
import static interop.Expect.isTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.GetResponse;
import java.io.IOException;
import java.util.List;
import java.util.Map;

final class QueueScenarios {
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
