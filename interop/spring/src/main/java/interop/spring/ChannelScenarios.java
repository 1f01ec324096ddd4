package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.spring.Expect.awaitReady;
import static interop.spring.Expect.channelError;
import static interop.spring.Expect.connectionError;
import static interop.spring.Expect.refused;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.GetResponse;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.springframework.amqp.core.DirectExchange;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.connection.ChannelProxy;
import org.springframework.amqp.rabbit.connection.Connection;
import org.springframework.amqp.rabbit.connection.RabbitUtils;
import org.springframework.amqp.rabbit.core.ChannelCallback;

final class ChannelScenarios {
    private ChannelScenarios() {}

    /** Spring keeps channels for the next use, unless it is told that they have to be closed. */
    static void channelOpenClose(Session session) throws Exception {
        Connection connection = session.client().factory.createConnection();
        Set<Channel> targets = new HashSet<>();
        for (int n = 0; n < 200; n++) {
            Channel channel = connection.createChannel(false);
            equal(channel.getChannelNumber(), 1, "channel number");
            targets.add(((ChannelProxy) channel).getTargetChannel());
            RabbitUtils.setPhysicalCloseRequired(channel, true);
            channel.close();
        }
        equal(targets.size(), 200, "channels");
    }

    static void thousandChannels(Session session) throws Exception {
        Client publisher = session.client();
        String queue = publisher.sharedQueue();
        Inbox inbox =
                Inbox.openMany(session.client(), queue, 1000, container -> container.setPrefetchCount(1));
        publisher.send(queue, numbers(1000));
        List<Inbox.Delivery> deliveries = inbox.await(1000);
        equal(deliveries.stream().map(Inbox.Delivery::channel).distinct().count(), 1000L, "channels, one message each");
        Set<String> bodies = deliveries.stream().map(Inbox.Delivery::body).collect(Collectors.toSet());
        equal(bodies, Set.copyOf(numbers(1000)), "messages over all channels");
        for (Inbox.Delivery delivery : deliveries) {
            delivery.channel().basicAck(delivery.tag(), false);
        }
        inbox.stop();
        equal(publisher.drain(queue), List.of(), "messages left");
    }

    static void errorClosesOnlyTheChannel(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue("healthy");
        Inbox inbox = Inbox.open(client, queue);
        String held = client.queue("held");
        client.send(held, "unsettled");
        channelError(client, 404, "NOT_FOUND - no queue 'nothing' in vhost '/'", channel -> {
            GetResponse unsettled = channel.basicGet(held, false);
            equal(new String(unsettled.getBody()), "unsettled", "message");
            return channel.queueDeclarePassive("nothing");
        });
        client.send(queue, "still here");
        equal(inbox.awaitBodies(1), List.of("still here"), "messages of the other channel");
        equal(client.drainMarked(held), List.of("unsettled again"), "message of the closed channel");
        equal(client.connectionsOpened.get(), 1, "connections");
    }

    static void notFound(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        String exchange = client.exchange("direct");
        String noQueue = "NOT_FOUND - no queue 'nothing' in vhost '/'";
        refused(client, 404, noQueue, () -> equal(client.admin.getQueueInfo("nothing"), null, "queue"));
        refused(client, 404, noQueue, () -> client.template.receive("nothing"));
        refused(client, 404, noQueue, () -> client.admin.purgeQueue("nothing"));
        refused(client, 404, noQueue, () -> client.bind("nothing", exchange, "key"));
        channelError(client, 404, noQueue, channel -> consume(channel, "nothing", ""));
        String noExchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'";
        refused(client, 404, noExchange, () -> client.bind(queue, "nothing", "key"));
        channelError(client, 404, noExchange, channel -> channel.exchangeDeclarePassive("nothing"));
        channelError(client, 404, noExchange, channel -> channel.exchangeBind(exchange, "nothing", "key"));
        refused(client, 404, noExchange, () -> client.template.convertAndSend("nothing", "key", "lost"));
        channelError(client, 404, "NOT_FOUND - no previously declared queue", channel -> consume(channel, "", ""));
        equal(client.connectionsOpened.get(), 1, "connections");
    }

    private static String consume(Channel channel, String queue, String consumerTag) throws Exception {
        return channel.basicConsume(queue, false, consumerTag, (tag, delivery) -> {}, tag -> {});
    }

    static void accessRefused(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        String internal = client.exchange("fanout", "exchange", builder -> builder.internal());
        // The admin leaves out queues with such names.
        channelError(client, 403, "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
                channel -> channel.queueDeclare("amq.interop", false, false, false, null));
        refused(client, 403, "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
                () -> client.admin.declareExchange(new DirectExchange("amq.interop", false, false)));
        for (ChannelCallback<?> attempt : List.<ChannelCallback<?>>of(
                channel -> channel.queueBind(queue, "", "key"),
                channel -> channel.queueUnbind(queue, "", "key"),
                channel -> channel.exchangeDelete(""))) {
            channelError(client, 403, "ACCESS_REFUSED - operation not permitted on the default exchange", attempt);
        }
        refused(client, 403, "ACCESS_REFUSED - cannot publish to internal exchange '" + internal + "' in vhost '/'",
                () -> client.template.convertAndSend(internal, "key", "refused"));
    }

    static void resourceLocked(Session session) throws Exception {
        Client owner = session.client();
        String queue = owner.queue();
        Client intruder = session.client();
        refused(intruder, 405, locked(queue), () -> intruder.admin.declareQueue(new Queue(queue, false, true, false)));
        refused(intruder, 405, locked(queue), () -> intruder.template.receive(queue));
        refused(intruder, 405, locked(queue), () -> intruder.admin.purgeQueue(queue));
        refused(intruder, 405, locked(queue), () -> intruder.admin.deleteQueue(queue));
        refused(intruder, 405, locked(queue), () -> intruder.bind(queue, "amq.fanout", ""));
        channelError(intruder, 405, locked(queue), channel -> channel.queueDeclarePassive(queue));
        channelError(intruder, 405, locked(queue), channel -> consume(channel, queue, ""));
        owner.send(queue, "mine");
        equal(owner.drain(queue), List.of("mine"), "messages of the owner");
    }

    static String locked(String queue) {
        String text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + queue
                + "' in vhost '/'. It could be originally declared on another connection or the exclusive property "
                + "value does not match that of the original declaration.";
        return text.substring(0, Math.min(255, text.length()));
    }

    static void preconditionFailed(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        String exchange = client.exchange("fanout");
        client.bind(queue, exchange, "");

        channelError(client, 406, "PRECONDITION_FAILED - unknown delivery tag 99", channel -> {
            channel.basicAck(99, false);
            return null;
        });
        client.send(queue, "once");
        Connection connection = client.factory.createConnection();
        refused(client, 406, "PRECONDITION_FAILED - unknown delivery tag 1", () -> {
            Channel channel = connection.createChannel(false);
            long tag = channel.basicGet(queue, false).getEnvelope().getDeliveryTag();
            channel.basicAck(tag, false);
            channel.basicAck(tag, false);
        });

        client.send(queue, "kept");
        awaitReady(client, queue, 1);
        refused(client, 406, "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' not empty",
                () -> client.admin.deleteQueue(queue, false, true));
        Inbox.open(client, queue);
        refused(client, 406, "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' in use",
                () -> client.admin.deleteQueue(queue, true, false));
        channelError(client, 406, "PRECONDITION_FAILED - exchange '" + exchange + "' in vhost '/' in use",
                channel -> channel.exchangeDelete(exchange, true));
    }

    static void duplicateConsumerTag(Session session) throws Exception {
        Client bystander = session.client();
        String queue = bystander.sharedQueue();
        Client client = session.client();
        connectionError(client, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'", channel -> {
            consume(channel, queue, "twice");
            return consume(channel, queue, "twice");
        });
        bystander.send(queue, "untouched");
        equal(bystander.drain(queue), List.of("untouched"), "messages of another connection");
        equal(bystander.connectionsOpened.get(), 1, "connections of the bystander");
    }

    static void notImplemented(Session session) throws Exception {
        Client bystander = session.client();
        String queue = bystander.queue();
        Map<String, ChannelCallback<?>> attempts = new LinkedHashMap<>();
        attempts.put("prefetch_size!=0 (1024)", channel -> {
            channel.basicQos(1024, 0, false);
            return null;
        });
        attempts.put("requeue=false", channel -> channel.basicRecover(false));
        attempts.put("immediate=true", channel -> {
            channel.basicPublish("", queue, false, true, null, new byte[0]);
            return null;
        });
        for (Map.Entry<String, ChannelCallback<?>> attempt : attempts.entrySet()) {
            connectionError(session.client(), 540, "NOT_IMPLEMENTED - " + attempt.getKey(), attempt.getValue());
        }
        bystander.send(queue, "untouched");
        equal(bystander.drain(queue), List.of("untouched"), "messages of another connection");
    }
}
