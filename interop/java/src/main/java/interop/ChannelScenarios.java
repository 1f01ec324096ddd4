package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drain;
import static interop.Amqp.publish;
import static interop.Amqp.send;
import static interop.Amqp.text;
import static interop.Expect.awaitReady;
import static interop.Expect.channelError;
import static interop.Expect.closedByBroker;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.GetResponse;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

final class ChannelScenarios {
    private ChannelScenarios() {}

    static void channelOpenClose(Session session) throws Exception {
        Connection connection = session.connect();
        for (int n = 0; n < 200; n++) {
            Channel channel = connection.createChannel(1);
            equal(channel.getChannelNumber(), 1, "channel number");
            channel.close();
        }
    }

    static void thousandChannels(Session session) throws Exception {
        Connection connection = session.connect();
        Channel publisher = session.channel();
        String queue = session.sharedQueue(publisher, "queue");
        List<Inbox> inboxes = new ArrayList<>();
        for (int n = 0; n < 1000; n++) {
            Channel channel = connection.createChannel();
            channel.basicQos(1);
            inboxes.add(Inbox.open(channel, queue));
        }
        send(publisher, queue, numbers(1000));
        List<Integer> received = new ArrayList<>();
        for (Inbox inbox : inboxes) {
            received.add(Integer.valueOf(inbox.awaitBodies(1).get(0)));
        }
        List<Integer> expected = numbers(1000).stream().map(Integer::valueOf).collect(Collectors.toList());
        equal(received.stream().sorted().collect(Collectors.toList()), expected, "messages over all channels");
        for (Inbox inbox : inboxes) {
            inbox.getChannel().basicAck(1, false);
            inbox.getChannel().close();
        }
        equal(drain(publisher, queue), List.of(), "messages left");
    }

    static void errorClosesOnlyTheChannel(Session session) throws Exception {
        Connection connection = session.connect();
        Channel healthy = connection.createChannel();
        Channel faulty = connection.createChannel();
        String queue = session.queue(healthy, "healthy");
        Inbox inbox = Inbox.open(healthy, queue);
        String held = session.queue(healthy, "held");
        send(faulty, held, "unsettled");
        faulty.basicGet(held, false);
        int number = faulty.getChannelNumber();
        closedByBroker(faulty, 404, "NOT_FOUND - no queue 'nothing' in vhost '/'",
                () -> faulty.queueDeclarePassive("nothing"));
        send(healthy, queue, "still here");
        equal(inbox.awaitBodies(1), List.of("still here"), "messages of the other channel");
        equal(connection.createChannel(number).getChannelNumber(), number, "number used again");
        GetResponse message = healthy.basicGet(held, true);
        equal(text(message), "unsettled", "message of the closed channel");
        equal(message.getEnvelope().isRedeliver(), true, "redelivered");
    }

    static void notFound(Session session) throws Exception {
        Connection connection = session.connect();
        Channel owner = connection.createChannel();
        String queue = session.queue(owner);
        String exchange = session.exchange(owner, "direct");
        String noQueue = "NOT_FOUND - no queue 'nothing' in vhost '/'";
        for (Expect.ChannelAction attempt : List.<Expect.ChannelAction>of(
                channel -> channel.queueDeclarePassive("nothing"),
                channel -> channel.basicGet("nothing", false),
                channel -> Inbox.open(channel, "nothing"),
                channel -> channel.queuePurge("nothing"),
                channel -> channel.queueBind("nothing", exchange, "key"))) {
            channelError(connection, 404, noQueue, attempt);
        }
        String noExchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'";
        for (Expect.ChannelAction attempt : List.<Expect.ChannelAction>of(
                channel -> channel.queueBind(queue, "nothing", "key"),
                channel -> channel.exchangeDeclarePassive("nothing"),
                channel -> channel.exchangeBind(exchange, "nothing", "key"),
                channel -> publish(channel, "nothing", "key", "lost"))) {
            channelError(connection, 404, noExchange, attempt);
        }
        channelError(connection, 404, "NOT_FOUND - no previously declared queue", channel -> Inbox.open(channel, ""));
        connection.createChannel().close();
    }

    static void accessRefused(Session session) throws Exception {
        Connection connection = session.connect();
        Channel owner = connection.createChannel();
        String queue = session.queue(owner);
        String internal = session.exchange(owner, "fanout", "exchange", false, true, Map.of());
        channelError(connection, 403, "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
                channel -> channel.queueDeclare("amq.interop", false, false, false, null));
        channelError(connection, 403, "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
                channel -> channel.exchangeDeclare("amq.interop", "direct"));
        for (Expect.ChannelAction attempt : List.<Expect.ChannelAction>of(
                channel -> channel.queueBind(queue, "", "key"),
                channel -> channel.queueUnbind(queue, "", "key"),
                channel -> channel.exchangeDelete(""))) {
            channelError(
                    connection, 403, "ACCESS_REFUSED - operation not permitted on the default exchange", attempt);
        }
        channelError(connection, 403,
                "ACCESS_REFUSED - cannot publish to internal exchange '" + internal + "' in vhost '/'",
                channel -> publish(channel, internal, "key", "refused"));
    }

    static void resourceLocked(Session session) throws Exception {
        Channel owner = session.channel();
        String queue = session.queue(owner);
        Connection intruder = session.connect();
        for (Expect.ChannelAction attempt : List.<Expect.ChannelAction>of(
                channel -> channel.queueDeclare(queue, false, true, false, null),
                channel -> channel.queueDeclarePassive(queue),
                channel -> channel.basicGet(queue, false),
                channel -> Inbox.open(channel, queue),
                channel -> channel.queuePurge(queue),
                channel -> channel.queueDelete(queue),
                channel -> channel.queueBind(queue, "amq.fanout", ""))) {
            channelError(intruder, 405, locked(queue), attempt);
        }
        send(owner, queue, "mine");
        equal(drain(owner, queue), List.of("mine"), "messages of the owner");
    }

    static String locked(String queue) {
        String text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + queue
                + "' in vhost '/'. It could be originally declared on another connection or the exclusive property "
                + "value does not match that of the original declaration.";
        return text.substring(0, Math.min(255, text.length()));
    }

    static void preconditionFailed(Session session) throws Exception {
        Connection connection = session.connect();
        Channel owner = connection.createChannel();
        String queue = session.queue(owner);
        String exchange = session.exchange(owner, "fanout");
        owner.queueBind(queue, exchange, "");

        channelError(connection, 406, "PRECONDITION_FAILED - unknown delivery tag 99",
                channel -> channel.basicAck(99, false));
        channelError(connection, 406, "PRECONDITION_FAILED - unknown delivery tag 1", channel -> {
            send(channel, queue, "once");
            channel.basicGet(queue, false);
            channel.basicAck(1, false);
            channel.basicAck(1, false);
        });

        send(owner, queue, "kept");
        awaitReady(owner, queue, 1);
        channelError(connection, 406, "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' not empty",
                channel -> channel.queueDelete(queue, false, true));
        Inbox.open(owner, queue);
        channelError(connection, 406, "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' in use",
                channel -> channel.queueDelete(queue, true, false));
        channelError(connection, 406, "PRECONDITION_FAILED - exchange '" + exchange + "' in vhost '/' in use",
                channel -> channel.exchangeDelete(exchange, true));
    }

    static void duplicateConsumerTag(Session session) throws Exception {
        Channel bystander = session.channel();
        String queue = session.sharedQueue(bystander, "queue");
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        Inbox.open(channel, queue, false, "twice", false, Map.of());
        closedByBroker(connection, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'",
                () -> Inbox.open(channel, queue, false, "twice", false, Map.of()));
        send(bystander, queue, "untouched");
        equal(drain(bystander, queue), List.of("untouched"), "messages of another connection");
    }

    static void notImplemented(Session session) throws Exception {
        Channel bystander = session.channel();
        String queue = session.queue(bystander);
        Map<String, Expect.ChannelAction> attempts = new LinkedHashMap<>();
        attempts.put("prefetch_size!=0 (1024)", channel -> channel.basicQos(1024, 0, false));
        attempts.put("requeue=false", channel -> channel.basicRecover(false));
        attempts.put("immediate=true", channel -> channel.basicPublish("", queue, false, true, null, bytes("now")));
        for (Map.Entry<String, Expect.ChannelAction> attempt : attempts.entrySet()) {
            Connection connection = session.connect();
            Channel channel = connection.createChannel();
            closedByBroker(connection, 540, "NOT_IMPLEMENTED - " + attempt.getKey(),
                    () -> attempt.getValue().run(channel));
        }
        send(bystander, queue, "untouched");
        equal(drain(bystander, queue), List.of("untouched"), "messages of another connection");
    }
}
