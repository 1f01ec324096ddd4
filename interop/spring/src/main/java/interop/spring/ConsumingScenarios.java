package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.eventually;
import static interop.harness.Check.isTrue;
import static interop.spring.Expect.awaitReady;
import static interop.spring.Expect.channelError;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.GetResponse;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.springframework.amqp.ImmediateRequeueAmqpException;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.event.AmqpEvent;
import org.springframework.amqp.rabbit.connection.RabbitUtils;
import org.springframework.amqp.rabbit.listener.ListenerContainerConsumerFailedEvent;
import org.springframework.amqp.rabbit.listener.ListenerContainerConsumerTerminatedEvent;
import org.springframework.amqp.rabbit.support.ConsumerCancelledException;

final class ConsumingScenarios {
    private ConsumingScenarios() {}

    /** A consumer that holds the five messages of the queue and gets no more until it settles some. */
    private static Inbox five(Client client, String queue) throws Exception {
        client.send(queue, "1", "2", "3", "4", "5");
        Inbox inbox = Inbox.open(client, queue, container -> container.setPrefetchCount(5));
        inbox.await(5);
        return inbox;
    }

    /** The container acknowledges when the listener returns. */
    static void consumeAndAck(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        client.send(queue, numbers(100));
        List<String> received = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch outstanding = new CountDownLatch(100);
        Listening listening = Listening.simple(client, message -> {
            received.add(message.getMessageProperties().getDeliveryTag() + " " + Client.marked(message));
            outstanding.countDown();
        }, container -> {}, queue);
        outstanding.await();
        List<String> expected =
                IntStream.range(0, 100).mapToObj(n -> (n + 1) + " " + n).collect(Collectors.toList());
        equal(received, expected, "deliveries");
        listening.stop();
        equal(client.drain(queue), List.of(), "messages left");
    }

    static void noAck(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        Inbox inbox = Inbox.open(client, queue, container -> {
            Listening.unsettled(container);
            container.setPrefetchCount(1);
        });
        client.send(queue, numbers(50));
        equal(inbox.awaitBodies(50), numbers(50), "messages");
        inbox.stop();
        equal(client.drain(queue), List.of(), "messages left");
    }

    static void prefetch(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        client.send(queue, numbers(20));
        Inbox first = Inbox.open(client, queue, container -> container.setPrefetchCount(5));
        first.await(5);
        awaitReady(client, queue, 15);
        Inbox second = Inbox.openSimple(client, container -> container.setPrefetchCount(5), queue);
        second.await(5);
        awaitReady(client, queue, 10);
        first.channel().basicAck(first.tags().get(0), false);
        first.await(6);
        awaitReady(client, queue, 9);
        equal(first.received().size(), 6, "deliveries to the first");
        equal(second.received().size(), 5, "deliveries to the second");
    }

    /** A simple container consumes from all its queues over one channel. */
    static void prefetchPerChannel(Session session) throws Exception {
        Client client = session.client();
        String one = client.queue("one");
        String other = client.queue("other");
        Inbox inbox = Inbox.openSimple(client, container -> {
            container.setPrefetchCount(5);
            container.setGlobalQos(true);
        }, one, other);
        client.send(one, numbers(10));
        client.send(other, numbers(10));
        eventually(() -> client.ready(one) + client.ready(other) == 15, "15 messages ready");
        eventually(() -> inbox.received().size() == 5, "5 held by the channel");
        inbox.channel().basicAck(0, true);
        eventually(() -> client.ready(one) + client.ready(other) == 10, "10 messages ready");
        eventually(() -> inbox.received().size() == 10, "10 held and settled");
    }

    static void ackMultiple(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        Inbox inbox = five(client, queue);
        inbox.channel().basicAck(inbox.tags().get(2), true);
        inbox.stop();
        equal(client.drainMarked(queue), List.of("4 again", "5 again"), "messages beyond the tag");
        Inbox other = five(client, queue);
        other.channel().basicAck(0, true);
        other.stop();
        equal(client.drain(queue), List.of(), "messages left");
    }

    static void nack(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        Inbox inbox = five(client, queue);
        Channel channel = inbox.channel();
        channel.basicNack(1, false, false);
        channel.basicNack(2, false, true);
        equal(inbox.awaitMarked(6, 6), List.of("2 again"), "requeued one by one");
        channel.basicNack(4, true, true);
        equal(inbox.awaitMarked(7, 8), List.of("3 again", "4 again"), "requeued up to the tag");
        channel.basicNack(0, true, false);
        channel.basicNack(0, true, true);
        inbox.stop();
        equal(client.drain(queue), List.of(), "messages left");
        equal(inbox.received().size(), 8, "deliveries");
    }

    /** On the channel, and by what a listener throws. */
    static void reject(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        Inbox inbox = five(client, queue);
        Channel channel = inbox.channel();
        channel.basicReject(1, false);
        channel.basicReject(2, true);
        equal(inbox.awaitMarked(6, 6), List.of("2 again"), "requeued");
        for (long tag = 3; tag <= 6; tag++) {
            channel.basicReject(tag, false);
        }
        inbox.stop();
        equal(client.drain(queue), List.of(), "messages left");

        LinkedBlockingQueue<String> attempts = new LinkedBlockingQueue<>();
        Listening listening = Listening.direct(client, message -> {
            attempts.add(Client.marked(message));
            if (!message.getMessageProperties().isRedelivered()) {
                throw new ImmediateRequeueAmqpException("once more");
            }
        }, container -> {}, queue);
        client.send(queue, "thrown back");
        equal(attempts.take(), "thrown back", "first attempt");
        equal(attempts.take(), "thrown back again", "second attempt");
        listening.stop();
        equal(client.drain(queue), List.of(), "messages left");
    }

    static void requeueOrder(Session session) {
        Client client = session.client();
        String queue = client.queue();
        client.send(queue, "1", "2", "3", "4", "5");
        client.template.invoke(operations -> {
            List<Long> tags = operations.execute(channel -> {
                List<Long> held = new ArrayList<>();
                for (int n = 0; n < 5; n++) {
                    held.add(channel.basicGet(queue, false).getEnvelope().getDeliveryTag());
                }
                return held;
            });
            operations.convertAndSend("", queue, "6");
            operations.execute(channel -> {
                for (int position : List.of(2, 0, 4, 1, 3)) {
                    channel.basicNack(tags.get(position), false, true);
                }
                return null;
            });
            List<String> messages = new ArrayList<>();
            Message message;
            while ((message = operations.receive(queue)) != null) {
                messages.add(Client.marked(message));
            }
            List<String> expected = List.of("1 again", "2 again", "3 again", "4 again", "5 again", "6");
            equal(messages, expected, "order after requeue");
            return null;
        });
    }

    static void recover(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        client.send(queue, "1", "2", "3");
        Inbox inbox = Inbox.open(client, queue);
        inbox.await(3);
        inbox.channel().basicAck(1, false);
        inbox.channel().basicRecover(true);
        equal(inbox.awaitMarked(1, 5), List.of("1", "2", "3", "2 again", "3 again"), "messages");
        equal(inbox.tags(), List.of(1L, 2L, 3L, 4L, 5L), "delivery tags");
    }

    static void unackedRequeuedOnClose(Session session) throws Exception {
        Client observer = session.client();
        String queue = observer.sharedQueue();
        Client holder = session.client();
        observer.send(queue, "1", "2", "3");
        Inbox first = Inbox.open(holder, queue);
        first.await(3);
        Inbox second = Inbox.open(holder, queue);
        first.stop();
        List<String> again = List.of("1 again", "2 again", "3 again");
        equal(second.awaitMarked(1, 3), again, "after the channel closed");
        Inbox third = Inbox.open(observer, queue);
        holder.factory.destroy();
        equal(third.awaitMarked(1, 3), again, "after the connection closed");
    }

    /** A container that is stopped cancels its consumer, and lets the listener finish its message. */
    static void consumerCancel(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        LinkedBlockingQueue<String> received = new LinkedBlockingQueue<>();
        CountDownLatch mayFinish = new CountDownLatch(1);
        Listening listening = Listening.simple(client, message -> {
            received.add(message.getMessageProperties().getConsumerTag() + " " + Client.text(message));
            LoadScenarios.await(mayFinish);
        }, container -> {
            container.setPrefetchCount(1);
            container.setConsumerTagStrategy(own -> "my-consumer");
        }, queue);
        client.send(queue, "before");
        equal(received.take(), "my-consumer before", "consumer tag and message");
        CompletableFuture<Void> stopped = new CompletableFuture<>();
        listening.container.stop(() -> stopped.complete(null));
        eventually(() -> client.consumers(queue) == 0, "the consumer is gone");
        client.send(queue, "after");
        mayFinish.countDown();
        stopped.get();
        equal(client.drainMarked(queue), List.of("after"), "messages left");
        equal(received.size(), 0, "further deliveries");
    }

    static void cancelNotify(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        Inbox direct = Inbox.open(client, queue);
        Inbox simple = Inbox.openSimple(client, container -> {}, queue);
        client.admin.deleteQueue(queue);
        AmqpEvent told = direct.listening().endings.take();
        String reason = ((ListenerContainerConsumerTerminatedEvent) told).getReason();
        isTrue(reason.matches("Consumer SimpleConsumer .* canceled"), "the direct container says so: " + reason);
        AmqpEvent failure = simple.listening().endings.take();
        Throwable caught = ((ListenerContainerConsumerFailedEvent) failure).getThrowable();
        equal(caught.getClass(), ConsumerCancelledException.class, "what the simple container caught");
        equal(client.connectionErrors.size(), 0, "connection errors");
        equal(client.channelErrors.size(), 0, "channel errors");
    }

    static void exclusiveConsumer(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        String inUse = "ACCESS_REFUSED - queue '" + queue + "' in vhost '/' in exclusive use";
        Inbox exclusive = Inbox.open(client, queue, container -> container.setExclusive(true));
        channelError(client, 403, inUse, second -> consume(second, queue, false));
        exclusive.stop();
        Inbox.open(client, queue);
        channelError(client, 403, inUse, third -> consume(third, queue, true));
    }

    private static String consume(Channel channel, String queue, boolean exclusive) throws Exception {
        return channel.basicConsume(
                queue, false, "", false, exclusive, Map.of(), (tag, delivery) -> {}, tag -> {});
    }

    static void roundRobin(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        List<Inbox> inboxes = new ArrayList<>();
        for (int n = 0; n < 3; n++) {
            inboxes.add(Inbox.openNoAck(client, queue));
        }
        client.send(queue, numbers(30));
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
        Client client = session.client();
        String queue = client.queue();
        Inbox low = Inbox.open(client, queue, container -> container.setConsumerArguments(Map.of("x-priority", -5)));
        Inbox usual = Inbox.open(client, queue);
        Inbox high = Inbox.open(client, queue, container -> {
            container.setConsumerArguments(Map.of("x-priority", 10));
            container.setPrefetchCount(3);
        });
        client.send(queue, numbers(10));
        equal(high.awaitBodies(3), List.of("0", "1", "2"), "high priority, until its prefetch");
        equal(usual.awaitBodies(7), numbers(10).subList(3, 10), "usual priority");
        equal(low.received().size(), 0, "low priority");
    }

    static void get(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        equal(client.template.receive(queue), null, "get from an empty queue");
        client.send(queue, "a", "b", "c");
        Channel holder = client.factory.createConnection().createChannel(false);
        GetResponse held = holder.basicGet(queue, false);
        equal(new String(held.getBody()) + " " + held.getMessageCount(), "a 2", "get without acknowledgement");
        got(client.template.receive(queue), queue, "b", false, 1);
        RabbitUtils.setPhysicalCloseRequired(holder, true);
        holder.close();
        got(client.template.receive(queue), queue, "a", true, 1);
        equal(client.drain(queue), List.of("c"), "messages left");
    }

    private static void got(Message message, String queue, String body, boolean redelivered, int messageCount) {
        MessageProperties properties = message.getMessageProperties();
        equal(Client.text(message), body, "body");
        equal(properties.isRedelivered(), redelivered, "redelivered");
        equal(properties.getReceivedExchange(), "", "exchange");
        equal(properties.getReceivedRoutingKey(), queue, "routing key");
        equal(properties.getMessageCount(), messageCount, "message count");
    }
}
