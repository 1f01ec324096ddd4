package interop.spring;

import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;

import java.time.Duration;
import java.time.Instant;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.core.Message;

final class DeadLetterScenarios {
    private static final Duration CLOCK_TOLERANCE = Duration.ofSeconds(30);

    private DeadLetterScenarios() {}

    static void deadLetterRejected(Session session) throws Exception {
        Client client = session.client();
        String graveyard = client.exchange("direct", "graveyard");
        String dead = client.queue("dead");
        client.bind(dead, graveyard, "rejected");
        String orders = client.exchange("topic", "orders");
        String queue = client.queue(
                "queue", builder -> builder.deadLetterExchange(graveyard).deadLetterRoutingKey("rejected"));
        client.bind(queue, orders, "order.*");
        Listening.simple(client, message -> {
            throw new AmqpRejectAndDontRequeueException("no good");
        }, container -> {}, queue);
        client.publish(orders, "order.new", "no good");

        Message letter = Inbox.openNoAck(client, dead).awaitNumber(1).message();
        equal(Client.text(letter), "no good", "body");
        equal(letter.getMessageProperties().getReceivedExchange(), graveyard, "exchange");
        equal(letter.getMessageProperties().getReceivedRoutingKey(), "rejected", "routing key");
        Map<String, Object> expected = Map.of(
                "count", 1L, "reason", "rejected", "queue", queue, "exchange", orders,
                "routing-keys", List.of("order.new"));
        equal(onlyDeath(letter), expected, "x-death");
        firstDeathIs(letter, "rejected", queue, orders);
    }

    static void deadLetterExpired(Session session) throws Exception {
        Client client = session.client();
        String dead = client.queue("dead");
        String queue = client.queue("queue", builder -> builder.deadLetterExchange("").deadLetterRoutingKey(dead));
        client.template.convertAndSend("", queue, "too late", QueueScenarios.expiring("100"));
        Message letter = Inbox.openNoAck(client, dead).awaitNumber(1).message();
        equal(Client.text(letter), "too late", "body");
        equal(letter.getMessageProperties().getExpiration(), null, "expiration");
        Map<String, Object> expected = Map.of(
                "count", 1L, "reason", "expired", "queue", queue, "exchange", "",
                "routing-keys", List.of(queue), "original-expiration", "100");
        equal(onlyDeath(letter), expected, "x-death");
        firstDeathIs(letter, "expired", queue, "");
    }

    static void deadLetterMaxlen(Session session) throws Exception {
        Client client = session.client();
        String dead = client.queue("dead");
        String queue = client.queue(
                "queue", builder -> builder.maxLength(2).deadLetterExchange("").deadLetterRoutingKey(dead));
        client.send(queue, "1", "2", "3");
        Inbox letters = Inbox.openNoAck(client, dead);
        Message letter = letters.awaitNumber(1).message();
        equal(Client.text(letter), "1", "the oldest");
        equal(deaths(letter), List.of(queue + " maxlen 1"), "x-death");
        firstDeathIs(letter, "maxlen", queue, "");
        equal(client.drain(queue), List.of("2", "3"), "messages left");
        equal(letters.received().size(), 1, "letters");
    }

    /** What is rejected comes back when its time in the retry queue is over. */
    static void deadLetterRetry(Session session) throws Exception {
        Client client = session.client();
        String work = session.name("work");
        String retry = client.queue(
                "retry", builder -> builder.ttl(100).deadLetterExchange("").deadLetterRoutingKey(work));
        client.queue("work", builder -> builder.deadLetterExchange("").deadLetterRoutingKey(retry));
        BlockingQueue<Message> attempts = new LinkedBlockingQueue<>();
        Listening.direct(client, message -> {
            attempts.add(message);
            if (timesRejected(message, work) < 3) {
                throw new AmqpRejectAndDontRequeueException("not yet");
            }
        }, container -> {}, work);
        client.send(work, "stubborn");
        for (int rejections = 0; rejections <= 3; rejections++) {
            Message attempt = attempts.take();
            equal(Client.text(attempt), "stubborn", "body");
            List<String> expected = rejections == 0
                    ? List.of()
                    : List.of(retry + " expired " + rejections, work + " rejected " + rejections);
            equal(deaths(attempt), expected, "x-death after " + rejections + " rejections");
        }
    }

    private static long timesRejected(Message message, String queue) {
        return history(message).stream()
                .filter(death -> death.get("queue").equals(queue))
                .mapToLong(death -> (Long) death.get("count"))
                .sum();
    }

    /** The deaths that a message has died, newest first, each as its queue, reason and count. */
    static List<String> deaths(Message message) {
        return history(message).stream()
                .map(death -> death.get("queue") + " " + death.get("reason") + " " + death.get("count"))
                .collect(Collectors.toList());
    }

    private static List<Map<String, ?>> history(Message message) {
        List<Map<String, ?>> deaths = message.getMessageProperties().getXDeathHeader();
        return deaths == null ? List.of() : deaths;
    }

    /** Without its time, which must be now. */
    private static Map<String, Object> onlyDeath(Message letter) {
        List<Map<String, ?>> deaths = history(letter);
        equal(deaths.size(), 1, "entries of x-death");
        Map<String, Object> death = new HashMap<>(deaths.get(0));
        Instant time = ((Date) death.remove("time")).toInstant();
        Duration age = Duration.between(time, Instant.now()).abs();
        isTrue(age.compareTo(CLOCK_TOLERANCE) < 0, "the time of death is now, but for " + age);
        return death;
    }

    private static void firstDeathIs(Message letter, String reason, String queue, String exchange) {
        Map<String, Object> headers = letter.getMessageProperties().getHeaders();
        equal(headers.get("x-first-death-reason"), reason, "x-first-death-reason");
        equal(headers.get("x-first-death-queue"), queue, "x-first-death-queue");
        equal(headers.get("x-first-death-exchange"), exchange, "x-first-death-exchange");
    }
}
