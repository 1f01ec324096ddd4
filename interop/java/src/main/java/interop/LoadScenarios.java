package interop;

import static interop.Amqp.send;
import static interop.Expect.awaitReady;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

final class LoadScenarios {
    private static final int PUBLISHERS = 8;
    private static final int MESSAGES_EACH = 1000;

    private LoadScenarios() {}

    /** Threads share a connection, each with a channel of its own. */
    static void concurrentPublishing(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.sharedQueue(channel, "queue");
        Inbox inbox = Inbox.openNoAck(channel, queue);
        Connection connection = session.connect();
        List<Callable<Void>> publishers = new ArrayList<>();
        for (int publisher = 0; publisher < PUBLISHERS; publisher++) {
            String prefix = publisher + " ";
            publishers.add(() -> publishConfirmed(connection, queue, prefix));
        }
        ExecutorService threads = Executors.newFixedThreadPool(PUBLISHERS);
        try {
            for (Future<Void> publisher : threads.invokeAll(publishers)) {
                publisher.get();
            }
        } finally {
            threads.shutdownNow();
        }
        List<String> received = inbox.awaitBodies(PUBLISHERS * MESSAGES_EACH);
        for (int publisher = 0; publisher < PUBLISHERS; publisher++) {
            String prefix = publisher + " ";
            List<String> own = received.stream()
                    .filter(body -> body.startsWith(prefix))
                    .map(body -> body.substring(prefix.length()))
                    .collect(Collectors.toList());
            equal(own.equals(numbers(MESSAGES_EACH)), true, "publisher " + publisher + " arrived in order, once each");
        }
    }

    private static Void publishConfirmed(Connection connection, String queue, String prefix) throws Exception {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        for (int n = 0; n < MESSAGES_EACH; n++) {
            send(channel, queue, prefix + n);
            if (n % 100 == 99) {
                channel.waitForConfirmsOrDie();
            }
        }
        return null;
    }

    /** A consumer that does not return fills the client's work pool, and then the sockets' buffers. */
    static void unreadConsumer(Session session) throws Exception {
        Channel setup = session.channel();
        String unreadQueue = session.sharedQueue(setup, "unread");
        String fastQueue = session.sharedQueue(setup, "fast");
        CountDownLatch mayRead = new CountDownLatch(1);
        List<Integer> received = new ArrayList<>();
        CountDownLatch unread = new CountDownLatch(2000);
        session.channel().basicConsume(unreadQueue, true, (tag, delivery) -> {
            awaitUninterrupted(mayRead);
            String body = Inbox.body(delivery);
            received.add(Integer.valueOf(body.substring(0, body.indexOf(' '))));
            unread.countDown();
        }, tag -> {});
        Channel publisher = session.channel();
        String padding = " " + ".".repeat(32768);
        for (String number : numbers(2000)) {
            send(publisher, unreadQueue, number + padding);
        }

        Inbox fastInbox = Inbox.openNoAck(session.channel(), fastQueue);
        send(publisher, fastQueue, numbers(5000));
        equal(fastInbox.awaitBodies(5000), numbers(5000), "the fast consumer's messages");

        mayRead.countDown();
        unread.await();
        List<Integer> expected = numbers(2000).stream().map(Integer::valueOf).collect(Collectors.toList());
        equal(received, expected, "the messages read at last");
    }

    private static void awaitUninterrupted(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static void slowConsumer(Session session) throws Exception {
        Channel setup = session.channel();
        String slowQueue = session.sharedQueue(setup, "slow");
        String fastQueue = session.sharedQueue(setup, "fast");
        Channel slow = session.channel();
        slow.basicQos(20);
        Inbox slowInbox = Inbox.open(slow, slowQueue);
        Channel publisher = session.channel();
        String padding = " " + ".".repeat(4096);
        for (String number : numbers(2000)) {
            send(publisher, slowQueue, number + padding);
        }

        Inbox fastInbox = Inbox.openNoAck(session.channel(), fastQueue);
        send(publisher, fastQueue, numbers(5000));
        equal(fastInbox.awaitBodies(5000), numbers(5000), "the fast consumer's messages");

        slowInbox.await(20);
        awaitReady(publisher, slowQueue, 1980);
        for (int settled = 0; settled < 2000; ) {
            slowInbox.await(settled + 1);
            List<Long> tags = slowInbox.tags();
            settled = tags.size();
            slow.basicAck(tags.get(settled - 1), true);
        }
        List<String> received = slowInbox.awaitBodies(2000).stream()
                .map(body -> body.substring(0, body.indexOf(' ')))
                .collect(Collectors.toList());
        equal(received, numbers(2000), "the slow consumer's messages");
    }
}
