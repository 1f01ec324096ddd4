package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.spring.Expect.awaitReady;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;

final class LoadScenarios {
    private static final int PUBLISHERS = 8;
    private static final int MESSAGES_EACH = 1000;
    private static final int CONFIRM_TIMEOUT_MS = 30_000;

    private LoadScenarios() {}

    /** Threads share a template, which gives each a channel of its own. */
    static void concurrentPublishing(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        Inbox inbox = Inbox.openNoAck(client, queue);
        List<Callable<Void>> publishers = new ArrayList<>();
        for (int publisher = 0; publisher < PUBLISHERS; publisher++) {
            String prefix = publisher + " ";
            publishers.add(() -> publishConfirmed(client, queue, prefix));
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

    private static Void publishConfirmed(Client client, String queue, String prefix) {
        return client.template.invoke(operations -> {
            for (int n = 0; n < MESSAGES_EACH; n++) {
                operations.convertAndSend("", queue, prefix + n);
                if (n % 100 == 99) {
                    operations.waitForConfirmsOrDie(CONFIRM_TIMEOUT_MS);
                }
            }
            return null;
        });
    }

    private static List<String> padded(int count, int size) {
        return numbers(count).stream().map(number -> number + " " + ".".repeat(size)).collect(Collectors.toList());
    }

    private static List<String> unpadded(Stream<String> bodies) {
        return bodies.map(body -> body.substring(0, body.indexOf(' '))).collect(Collectors.toList());
    }

    private static void isUnhindered(Session session, Client publisher) throws Exception {
        String queue = publisher.sharedQueue("fast");
        Inbox inbox = Inbox.openNoAck(session.client(), queue);
        publisher.send(queue, numbers(5000));
        equal(inbox.awaitBodies(5000), numbers(5000), "the fast consumer's messages");
    }

    static void slowConsumer(Session session) throws Exception {
        Client publisher = session.client();
        String queue = publisher.sharedQueue("slow");
        Inbox slow = Inbox.open(session.client(), queue, container -> container.setPrefetchCount(20));
        publisher.send(queue, padded(2000, 4096));
        isUnhindered(session, publisher);

        slow.await(20);
        awaitReady(publisher, queue, 1980);
        for (int settled = 0; settled < 2000; ) {
            slow.await(settled + 1);
            List<Long> tags = slow.tags();
            settled = tags.size();
            slow.channel().basicAck(tags.get(settled - 1), true);
        }
        equal(unpadded(slow.awaitBodies(2000).stream()), numbers(2000), "the slow consumer's messages");
    }

    /** A listener that does not return fills the container's queue, the client's, and then the sockets' buffers. */
    static void unreadConsumer(Session session) throws Exception {
        Client publisher = session.client();
        String queue = publisher.sharedQueue("unread");
        CountDownLatch mayRead = new CountDownLatch(1);
        CountDownLatch unread = new CountDownLatch(2000);
        List<String> received = new ArrayList<>();
        Listening.simple(session.client(), message -> {
            await(mayRead);
            received.add(Client.text(message));
            unread.countDown();
        }, Listening::unsettled, queue);
        publisher.send(queue, padded(2000, 32768));
        isUnhindered(session, publisher);

        mayRead.countDown();
        unread.await();
        equal(unpadded(received.stream()), numbers(2000), "the messages read at last");
    }

    static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
