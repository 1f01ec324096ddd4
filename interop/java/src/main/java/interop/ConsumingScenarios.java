package interop;

import static interop.Amqp.drain;
import static interop.Amqp.drainMarked;
import static interop.Amqp.send;
import static interop.Amqp.text;
import static interop.Expect.awaitReady;
import static interop.Expect.channelError;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.eventually;
import static interop.harness.Check.isTrue;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

final class ConsumingScenarios {
    private ConsumingScenarios() {}

    /** Publishes five messages and takes them without acknowledging. */
    private static List<Long> five(Channel channel, String queue) throws Exception {
        send(channel, queue, "1", "2", "3", "4", "5");
        Inbox inbox = Inbox.open(channel, queue);
        inbox.await(5);
        channel.basicCancel(inbox.tag());
        return inbox.tags();
    }

    static void consumeAndAck(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        send(channel, queue, numbers(100));
        List<String> received = new ArrayList<>();
        CountDownLatch outstanding = new CountDownLatch(100);
        channel.basicConsume(queue, false, (tag, delivery) -> {
            received.add(delivery.getEnvelope().getDeliveryTag() + " " + Inbox.body(delivery) + " "
                    + delivery.getEnvelope().isRedeliver());
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            outstanding.countDown();
        }, tag -> {});
        outstanding.await();
        List<String> expected =
                IntStream.range(0, 100).mapToObj(n -> (n + 1) + " " + n + " false").collect(Collectors.toList());
        equal(received, expected, "deliveries");
        channel.close();
        equal(drain(connection.createChannel(), queue), List.of(), "messages left");
    }

    static void noAck(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        channel.basicQos(1);
        Inbox inbox = Inbox.openNoAck(channel, queue);
        send(channel, queue, numbers(50));
        equal(inbox.awaitBodies(50), numbers(50), "messages");
        channel.close();
        equal(drain(connection.createChannel(), queue), List.of(), "messages left");
    }

    static void prefetch(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        channel.basicQos(5);
        send(channel, queue, numbers(20));
        Inbox first = Inbox.open(channel, queue);
        first.await(5);
        awaitReady(channel, queue, 15);
        Inbox second = Inbox.open(channel, queue);
        second.await(5);
        awaitReady(channel, queue, 10);
        channel.basicAck(first.tags().get(0), false);
        first.await(6);
        awaitReady(channel, queue, 9);
        equal(first.received().size(), 6, "deliveries to the first");
        equal(second.received().size(), 5, "deliveries to the second");
    }

    static void prefetchPerChannel(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        channel.basicQos(5, true);
        Inbox first = Inbox.open(channel, queue);
        Inbox second = Inbox.open(channel, queue);
        send(channel, queue, numbers(20));
        awaitReady(channel, queue, 15);
        eventually(() -> first.received().size() + second.received().size() == 5, "5 held by the channel");
        channel.basicAck(0, true);
        awaitReady(channel, queue, 10);
        eventually(() -> first.received().size() + second.received().size() == 10, "10 held and settled");
    }

    static void ackMultiple(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        channel.basicAck(five(channel, queue).get(2), true);
        channel.close();
        Channel other = connection.createChannel();
        equal(drainMarked(other, queue), List.of("4 again", "5 again"), "messages beyond the tag");
        five(other, queue);
        other.basicAck(0, true);
        other.close();
        equal(drain(connection.createChannel(), queue), List.of(), "messages left");
    }

    static void nack(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        List<Long> tags = five(channel, queue);
        channel.basicNack(tags.get(0), false, false);
        channel.basicNack(tags.get(1), false, true);
        equal(drainMarked(channel, queue), List.of("2 again"), "requeued one by one");
        channel.basicNack(tags.get(3), true, true);
        equal(drainMarked(channel, queue), List.of("3 again", "4 again"), "requeued up to the tag");
        channel.basicNack(0, true, false);
        channel.basicNack(0, true, true);
        equal(drain(channel, queue), List.of(), "messages left");
    }

    static void reject(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        List<Long> tags = five(channel, queue);
        channel.basicReject(tags.get(0), false);
        channel.basicReject(tags.get(1), true);
        equal(drainMarked(channel, queue), List.of("2 again"), "requeued");
        for (long tag : tags.subList(2, 5)) {
            channel.basicReject(tag, false);
        }
        equal(drain(channel, queue), List.of(), "messages left");
    }

    static void requeueOrder(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        List<Long> tags = five(channel, queue);
        send(channel, queue, "6");
        for (int position : List.of(2, 0, 4, 1, 3)) {
            channel.basicNack(tags.get(position), false, true);
        }
        List<String> expected = List.of("1 again", "2 again", "3 again", "4 again", "5 again", "6");
        equal(drainMarked(channel, queue), expected, "order after requeue");
    }

    static void recover(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        send(channel, queue, "1", "2", "3");
        Inbox inbox = Inbox.open(channel, queue);
        inbox.await(3);
        channel.basicAck(inbox.tags().get(0), false);
        channel.basicRecover(true);
        equal(inbox.awaitBodies(5), List.of("1", "2", "3", "2", "3"), "messages");
        equal(inbox.redelivered(), List.of(false, false, false, true, true), "redelivered");
        equal(inbox.tags(), List.of(1L, 2L, 3L, 4L, 5L), "delivery tags");
    }

    static void unackedRequeuedOnClose(Session session) throws Exception {
        Channel observer = session.channel();
        String queue = session.sharedQueue(observer, "queue");
        Connection holder = session.connect();
        Channel channel = holder.createChannel();
        send(channel, queue, "1", "2", "3");
        Inbox.open(channel, queue).await(3);
        Inbox second = Inbox.open(holder.createChannel(), queue);
        channel.close();
        equal(second.awaitBodies(3), List.of("1", "2", "3"), "after the channel closed");
        equal(second.redelivered(), List.of(true, true, true), "redelivered");
        Inbox third = Inbox.open(observer, queue);
        holder.close();
        equal(third.awaitBodies(3), List.of("1", "2", "3"), "after the connection closed");
        equal(third.redelivered(), List.of(true, true, true), "redelivered");
    }

    static void consumerCancel(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        Inbox inbox = Inbox.open(channel, queue, false, "my-consumer", false, Map.of());
        equal(inbox.tag(), "my-consumer", "consumer tag");
        send(channel, queue, "before");
        Delivery before = inbox.await(1).get(0);
        channel.basicCancel("my-consumer");
        send(channel, queue, "after");
        awaitReady(channel, queue, 1);
        channel.basicAck(before.getEnvelope().getDeliveryTag(), false);
        equal(drain(channel, queue), List.of("after"), "messages left");
        equal(inbox.received().size(), 1, "delivered");
    }

    static void cancelNotify(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        List<Inbox> inboxes = List.of(Inbox.open(channel, queue), Inbox.open(channel, queue));
        connection.createChannel().queueDelete(queue);
        for (Inbox inbox : inboxes) {
            String tag = inbox.tag();
            isTrue(tag.startsWith("amq.ctag-"), "consumer tag " + tag + " is named by the server");
            inbox.awaitCancel();
        }
        isTrue(channel.isOpen(), "the channel is open");
        channel.basicQos(1);
    }

    static void exclusiveConsumer(Session session) throws Exception {
        Connection connection = session.connect();
        Channel owner = connection.createChannel();
        String queue = session.queue(owner);
        String inUse = "ACCESS_REFUSED - queue '" + queue + "' in vhost '/' in exclusive use";
        Inbox inbox = Inbox.open(owner, queue, false, "", true, Map.of());
        channelError(connection, 403, inUse, second -> Inbox.open(second, queue));
        owner.basicCancel(inbox.tag());
        Inbox.open(owner, queue);
        channelError(connection, 403, inUse, third -> Inbox.open(third, queue, false, "", true, Map.of()));
    }

    static void roundRobin(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        List<Inbox> inboxes = new ArrayList<>();
        for (int n = 0; n < 3; n++) {
            inboxes.add(Inbox.openNoAck(channel, queue));
        }
        send(channel, queue, numbers(30));
        List<List<String>> shares = new ArrayList<>();
        for (Inbox inbox : inboxes) {
            shares.add(inbox.awaitBodies(10));
        }
        shares.sort(Comparator.comparing(share -> share.get(0)));
        List<List<String>> turns = IntStream.range(0, 3)
                .mapToObj(turn -> IntStream.range(0, 10)
                        .mapToObj(n -> String.valueOf(3 * n + turn))
                        .collect(Collectors.toList()))
                .collect(Collectors.toList());
        equal(shares, turns, "turns");
    }

    static void consumerPriority(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        Inbox low = Inbox.open(channel, queue, false, "", false, Map.of("x-priority", -5));
        Inbox usual = Inbox.open(channel, queue);
        channel.basicQos(3);
        Inbox high = Inbox.open(channel, queue, false, "", false, Map.of("x-priority", 10));
        send(channel, queue, numbers(10));
        equal(high.awaitBodies(3), List.of("0", "1", "2"), "high priority, until its prefetch");
        equal(usual.awaitBodies(7), numbers(10).subList(3, 10), "usual priority");
        equal(low.received().size(), 0, "low priority");
    }

    static void get(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String queue = session.queue(channel);
        equal(channel.basicGet(queue, false), null, "get from an empty queue");
        send(channel, queue, "a", "b", "c");
        got(channel.basicGet(queue, false), queue, "a", 1, false, 2);
        got(channel.basicGet(queue, true), queue, "b", 2, false, 1);
        channel.close();
        Channel next = connection.createChannel();
        got(next.basicGet(queue, false), queue, "a", 1, true, 1);
        next.basicAck(1, false);
        equal(drain(next, queue), List.of("c"), "messages left");
    }

    private static void got(
            GetResponse message, String queue, String body, long tag, boolean redelivered, int messageCount) {
        equal(text(message), body, "body");
        equal(message.getEnvelope().getDeliveryTag(), tag, "delivery tag");
        equal(message.getEnvelope().isRedeliver(), redelivered, "redelivered");
        equal(message.getEnvelope().getExchange(), "", "exchange");
        equal(message.getEnvelope().getRoutingKey(), queue, "routing key");
        equal(message.getMessageCount(), messageCount, "message count");
    }
}
