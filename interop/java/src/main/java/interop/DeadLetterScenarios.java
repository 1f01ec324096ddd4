package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drain;
import static interop.Amqp.publish;
import static interop.Amqp.send;
import static interop.Amqp.text;
import static interop.harness.Check.equal;
import static interop.harness.Check.eventually;
import static interop.harness.Check.isTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

final class DeadLetterScenarios {
    private static final Duration CLOCK_TOLERANCE = Duration.ofSeconds(30);

    private DeadLetterScenarios() {}

    static void deadLetterRejected(Session session) throws Exception {
        Channel channel = session.channel();
        String graveyard = session.exchange(channel, "direct", "graveyard");
        String dead = session.queue(channel, "dead");
        channel.queueBind(dead, graveyard, "rejected");
        String orders = session.exchange(channel, "topic", "orders");
        Map<String, Object> arguments =
                Map.of("x-dead-letter-exchange", graveyard, "x-dead-letter-routing-key", "rejected");
        String queue = session.queue(channel, "queue", arguments);
        channel.queueBind(queue, orders, "order.*");
        publish(channel, orders, "order.new", "no good");
        channel.basicReject(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);

        GetResponse letter = awaitLetter(channel, dead);
        equal(text(letter), "no good", "body");
        equal(letter.getEnvelope().getExchange(), graveyard, "exchange");
        equal(letter.getEnvelope().getRoutingKey(), "rejected", "routing key");
        Map<String, Object> death = onlyDeath(letter);
        isRecent(death.remove("time"));
        Map<String, Object> expected = Map.of(
                "count", 1L, "reason", "rejected", "queue", queue, "exchange", orders,
                "routing-keys", List.of("order.new"));
        equal(death, expected, "x-death");
        firstDeathIs(letter, "rejected", queue, orders);
    }

    static void deadLetterExpired(Session session) throws Exception {
        Channel channel = session.channel();
        String dead = session.queue(channel, "dead");
        String queue = session.queue(channel, "queue", lettersTo(dead));
        channel.basicPublish("", queue, QueueScenarios.expiring("100"), bytes("too late"));
        GetResponse letter = awaitLetter(channel, dead);
        equal(text(letter), "too late", "body");
        equal(letter.getProps().getExpiration(), null, "expiration");
        Map<String, Object> death = onlyDeath(letter);
        isRecent(death.remove("time"));
        Map<String, Object> expected = Map.of(
                "count", 1L, "reason", "expired", "queue", queue, "exchange", "",
                "routing-keys", List.of(queue), "original-expiration", "100");
        equal(death, expected, "x-death");
        firstDeathIs(letter, "expired", queue, "");
    }

    static void deadLetterMaxlen(Session session) throws Exception {
        Channel channel = session.channel();
        String dead = session.queue(channel, "dead");
        Map<String, Object> arguments = new HashMap<>(lettersTo(dead));
        arguments.put("x-max-length", 2);
        String queue = session.queue(channel, "queue", arguments);
        send(channel, queue, "1", "2", "3");
        GetResponse letter = awaitLetter(channel, dead);
        equal(text(letter), "1", "the oldest");
        equal(deaths(letter.getProps()), List.of(queue + " maxlen 1"), "x-death");
        firstDeathIs(letter, "maxlen", queue, "");
        equal(drain(channel, queue), List.of("2", "3"), "messages left");
        equal(drain(channel, dead), List.of(), "further letters");
    }

    /** What is rejected comes back when its time in the retry queue is over. */
    static void deadLetterRetry(Session session) throws Exception {
        Channel channel = session.channel();
        String work = session.name("work");
        Map<String, Object> waiting = new HashMap<>(lettersTo(work));
        waiting.put("x-message-ttl", 100);
        String retry = session.queue(channel, "retry", waiting);
        session.queue(channel, "work", lettersTo(retry));
        Inbox inbox = Inbox.open(channel, work);
        send(channel, work, "stubborn");
        for (int rejections = 0; rejections < 3; rejections++) {
            Delivery delivery = inbox.await(rejections + 1).get(rejections);
            equal(deaths(delivery.getProperties()), deathsOf(retry, work, rejections), "x-death");
            channel.basicReject(delivery.getEnvelope().getDeliveryTag(), false);
        }
        Delivery last = inbox.await(4).get(3);
        equal(deaths(last.getProperties()), deathsOf(retry, work, 3), "x-death after three rejections");
        equal(Inbox.body(last), "stubborn", "body");
        channel.basicAck(last.getEnvelope().getDeliveryTag(), false);
    }

    private static List<String> deathsOf(String retry, String work, int times) {
        return times == 0 ? List.of() : List.of(retry + " expired " + times, work + " rejected " + times);
    }

    private static Map<String, Object> lettersTo(String queue) {
        return Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", queue);
    }

    private static GetResponse awaitLetter(Channel channel, String queue) throws Exception {
        List<GetResponse> letters = new ArrayList<>();
        eventually(() -> {
            GetResponse letter = channel.basicGet(queue, true);
            return letter != null && letters.add(letter);
        }, "a dead letter");
        return letters.get(0);
    }

    /** The deaths that a message has died, newest first, each as its queue, reason and count. */
    static List<String> deaths(AMQP.BasicProperties properties) {
        return history(properties).stream()
                .map(death -> death.get("queue") + " " + death.get("reason") + " " + death.get("count"))
                .collect(Collectors.toList());
    }

    private static List<Map<String, Object>> history(AMQP.BasicProperties properties) {
        Map<String, Object> headers = properties.getHeaders();
        List<?> deaths = headers == null ? null : (List<?>) headers.get("x-death");
        return deaths == null
                ? List.of()
                : deaths.stream().map(death -> readable((Map<?, ?>) death)).collect(Collectors.toList());
    }

    private static Map<String, Object> onlyDeath(GetResponse letter) {
        List<Map<String, Object>> deaths = history(letter.getProps());
        equal(deaths.size(), 1, "entries of x-death");
        return deaths.get(0);
    }

    /** A table as people read it: the client's strings compare equal to its own kind only. */
    private static Map<String, Object> readable(Map<?, ?> table) {
        Map<String, Object> readable = new HashMap<>();
        table.forEach((key, value) -> readable.put((String) key, readable(value)));
        return readable;
    }

    private static Object readable(Object value) {
        if (value instanceof List) {
            return ((List<?>) value).stream().map(Object::toString).collect(Collectors.toList());
        }
        return value instanceof Long || value instanceof Date ? value : value.toString();
    }

    private static void isRecent(Object time) {
        Duration age = Duration.between(((Date) time).toInstant(), Instant.now()).abs();
        isTrue(age.compareTo(CLOCK_TOLERANCE) < 0, "the time of death is now, but for " + age);
    }

    private static void firstDeathIs(GetResponse letter, String reason, String queue, String exchange) {
        Map<String, Object> headers = readableStrings(letter.getProps().getHeaders());
        equal(headers.get("x-first-death-reason"), reason, "x-first-death-reason");
        equal(headers.get("x-first-death-queue"), queue, "x-first-death-queue");
        equal(headers.get("x-first-death-exchange"), exchange, "x-first-death-exchange");
    }

    private static Map<String, Object> readableStrings(Map<String, Object> headers) {
        Map<String, Object> strings = new HashMap<>();
        headers.forEach((key, value) -> strings.put(key, value.toString()));
        return strings;
    }
}
