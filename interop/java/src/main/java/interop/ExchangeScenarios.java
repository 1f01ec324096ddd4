package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.drain;
import static interop.Amqp.headers;
import static interop.Amqp.publish;
import static interop.Amqp.send;
import static interop.Amqp.text;
import static interop.Expect.channelError;
import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;

import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.impl.LongStringHelper;
import interop.harness.TopicCases;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

final class ExchangeScenarios {
    private ExchangeScenarios() {}

    static void predeclaredExchanges(Session session) throws Exception {
        Channel channel = session.channel();
        Map<String, BuiltinExchangeType> predeclared = Map.of(
                "amq.direct", BuiltinExchangeType.DIRECT,
                "amq.fanout", BuiltinExchangeType.FANOUT,
                "amq.topic", BuiltinExchangeType.TOPIC,
                "amq.headers", BuiltinExchangeType.HEADERS,
                "amq.match", BuiltinExchangeType.HEADERS);
        for (Map.Entry<String, BuiltinExchangeType> exchange : predeclared.entrySet()) {
            channel.exchangeDeclarePassive(exchange.getKey());
            channel.exchangeDeclare(exchange.getKey(), exchange.getValue(), true);
        }
    }

    static void exchangeMismatch(Session session) throws Exception {
        Connection connection = session.connect();
        String exchange = session.exchange(connection.createChannel(), "direct");
        String flag = "received 'true' but current is 'false'";
        channelError(connection, 406, inequivalent("type", exchange, "received 'fanout' but current is 'direct'"),
                channel -> channel.exchangeDeclare(exchange, "fanout"));
        channelError(connection, 406, inequivalent("durable", exchange, flag),
                channel -> channel.exchangeDeclare(exchange, "direct", true));
        channelError(connection, 406, inequivalent("auto_delete", exchange, flag),
                channel -> channel.exchangeDeclare(exchange, "direct", false, true, null));
        channelError(connection, 406, inequivalent("internal", exchange, flag),
                channel -> channel.exchangeDeclare(exchange, "direct", false, false, true, null));
        String added = "received the value 'amq.fanout' of type 'longstr' but current is none";
        channelError(connection, 406, inequivalent("alternate-exchange", exchange, added), channel ->
                channel.exchangeDeclare(exchange, "direct", false, false, Map.of("alternate-exchange", "amq.fanout")));
        connection.createChannel().exchangeDeclare(exchange, "direct");
    }

    private static String inequivalent(String argument, String exchange, String difference) {
        return "PRECONDITION_FAILED - inequivalent arg '" + argument + "' for exchange '" + exchange
                + "' in vhost '/': " + difference;
    }

    static void defaultExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String first = session.queue(channel, "first");
        String second = session.queue(channel, "second");
        send(channel, first, "to first");
        send(channel, second, "to second");
        send(channel, session.name("nobody"), "to nobody");
        equal(drain(channel, first), List.of("to first"), "first");
        equal(drain(channel, second), List.of("to second"), "second");
    }

    static void directExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "direct");
        String errors = session.queue(channel, "errors");
        String everything = session.queue(channel, "everything");
        channel.queueBind(errors, exchange, "error");
        for (String severity : List.of("info", "warning", "error", "error")) {
            channel.queueBind(everything, exchange, severity);
        }
        for (String severity : List.of("info", "warning", "error", "debug")) {
            publish(channel, exchange, severity, severity);
        }
        equal(drain(channel, errors), List.of("error"), "errors");
        equal(drain(channel, everything), List.of("info", "warning", "error"), "everything");
    }

    static void fanoutExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "fanout");
        List<String> queues = new ArrayList<>();
        for (int n = 0; n < 5; n++) {
            queues.add(session.queue(channel, "queue-" + n));
            channel.queueBind(queues.get(n), exchange, "ignored-" + n);
        }
        publish(channel, exchange, "", "one");
        publish(channel, exchange, "any.key", "two");
        for (String queue : queues) {
            equal(drain(channel, queue), List.of("one", "two"), queue);
        }
    }

    static void topicExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "topic");
        String once = session.queue(channel, "one copy");
        Set<String> patterns = new LinkedHashSet<>();
        TopicCases.CASES.values().forEach(patterns::addAll);
        for (String pattern : patterns) {
            channel.queueBind(session.queue(channel, "[" + pattern + "]"), exchange, pattern);
            channel.queueBind(once, exchange, pattern);
        }
        for (String key : TopicCases.CASES.keySet()) {
            publish(channel, exchange, key, key);
        }
        for (String pattern : patterns) {
            List<String> expected = TopicCases.CASES.keySet().stream()
                    .filter(key -> TopicCases.CASES.get(key).contains(pattern))
                    .collect(Collectors.toList());
            equal(drain(channel, session.name("[" + pattern + "]")), expected, "keys that " + pattern + " matches");
        }
        equal(drain(channel, once), new ArrayList<>(TopicCases.CASES.keySet()), "one copy of each");
    }

    static void headersExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "headers");
        Map<String, Object> wanted = Map.of("format", "pdf", "pages", 3, "draft", false);
        String all = session.queue(channel, "all");
        String any = session.queue(channel, "any");
        String byDefault = session.queue(channel, "default");
        channel.queueBind(all, exchange, "", with(wanted, "x-match", "all"));
        channel.queueBind(any, exchange, "", with(wanted, "x-match", "any"));
        channel.queueBind(byDefault, exchange, "", wanted);
        Map<String, Object> tiered = Map.of("format", "pdf", "x-tier", "gold");
        for (String match : List.of("all", "all-with-x", "any-with-x")) {
            String queue = session.queue(channel, "tiered " + match);
            channel.queueBind(queue, exchange, "", with(tiered, "x-match", match));
        }
        Map<String, Map<String, Object>> messages = new LinkedHashMap<>();
        messages.put("all", with(wanted, "extra", "ignored"));
        messages.put("format only", Map.of("format", "pdf", "pages", 4));
        messages.put("draft only", Map.of("draft", false));
        messages.put("none", Map.of("format", "zip", "pages", 4, "draft", true));
        messages.put("no headers", null);
        messages.put("tiered", tiered);
        messages.put("tier only", Map.of("x-tier", "gold"));
        for (Map.Entry<String, Map<String, Object>> message : messages.entrySet()) {
            channel.basicPublish(exchange, "", headers(message.getValue()), bytes(message.getKey()));
        }
        equal(drain(channel, all), List.of("all"), "x-match all");
        equal(drain(channel, any), List.of("all", "format only", "draft only", "tiered"), "x-match any");
        equal(drain(channel, byDefault), List.of("all"), "no x-match");
        Map<String, List<String>> expected = Map.of(
                "all", List.of("all", "format only", "tiered"),
                "all-with-x", List.of("tiered"),
                "any-with-x", List.of("all", "format only", "tiered", "tier only"));
        for (Map.Entry<String, List<String>> match : expected.entrySet()) {
            String queue = session.name("tiered " + match.getKey());
            equal(drain(channel, queue), match.getValue(), "x-match " + match.getKey() + " with an x- header");
        }
    }

    private static Map<String, Object> with(Map<String, Object> table, String key, Object value) {
        Map<String, Object> extended = new HashMap<>(table);
        extended.put(key, value);
        return extended;
    }

    static void exchangeToExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String source = session.exchange(channel, "topic", "source");
        String middle = session.exchange(channel, "fanout", "middle");
        String queue = session.queue(channel);
        channel.exchangeBind(middle, source, "orders.#");
        channel.exchangeBind(source, middle, "");
        channel.queueBind(queue, middle, "");
        channel.queueBind(queue, source, "#");
        publish(channel, source, "orders.new", "both ways");
        publish(channel, source, "other", "directly");
        equal(drain(channel, queue), List.of("both ways", "directly"), "messages, one copy each");
        channel.exchangeUnbind(middle, source, "orders.#");
        channel.queueUnbind(queue, source, "#");
        publish(channel, source, "orders.new", "nowhere");
        equal(drain(channel, queue), List.of(), "messages after unbind");
    }

    static void alternateExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String fallback = session.exchange(channel, "fanout", "fallback");
        Map<String, Object> arguments = Map.of("alternate-exchange", fallback);
        String exchange = session.exchange(channel, "direct", "main", false, false, arguments);
        String known = session.queue(channel, "known");
        String unknown = session.queue(channel, "unknown");
        channel.queueBind(known, exchange, "known");
        channel.queueBind(unknown, fallback, "");
        List<String> returned = new CopyOnWriteArrayList<>();
        channel.addReturnListener(message -> returned.add(message.getRoutingKey()));
        channel.basicPublish(exchange, "known", true, null, bytes("matched"));
        channel.basicPublish(exchange, "stray", true, null, bytes("not matched"));
        equal(drain(channel, known), List.of("matched"), "matched");
        GetResponse message = channel.basicGet(unknown, true);
        equal(text(message), "not matched", "not matched");
        equal(message.getEnvelope().getExchange(), exchange, "exchange");
        equal(message.getEnvelope().getRoutingKey(), "stray", "routing key");
        equal(returned, List.of(), "returned");
    }

    static void internalExchange(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String front = session.exchange(channel, "direct", "front");
        String internal = session.exchange(channel, "fanout", "internal", false, true, Map.of());
        String queue = session.queue(channel);
        channel.exchangeBind(internal, front, "in");
        channel.queueBind(queue, internal, "");
        publish(channel, front, "in", "through the front");
        equal(drain(channel, queue), List.of("through the front"), "messages");
        channelError(connection, 403,
                "ACCESS_REFUSED - cannot publish to internal exchange '" + internal + "' in vhost '/'",
                intruder -> publish(intruder, internal, "", "directly"));
        equal(drain(channel, queue), List.of(), "messages after the refused publish");
    }

    static void autoDeleteExchange(Session session) throws Exception {
        Connection connection = session.connect();
        Channel channel = connection.createChannel();
        String exchange = session.exchange(channel, "fanout", "exchange", true, false, Map.of());
        String queue = session.queue(channel);
        channel.queueBind(queue, exchange, "one");
        channel.queueBind(queue, exchange, "two");
        channel.queueUnbind(queue, exchange, "one");
        channel.exchangeDeclarePassive(exchange);
        channel.queueUnbind(queue, exchange, "two");
        channelError(connection, 404, "NOT_FOUND - no exchange '" + exchange + "' in vhost '/'",
                observer -> observer.exchangeDeclarePassive(exchange));
    }

    static void unbind(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "headers");
        String queue = session.queue(channel);
        Map<String, Object> red = Map.of("x-match", "all", "colour", "red");
        Map<String, Object> blue = Map.of("x-match", "all", "colour", "blue");
        channel.queueBind(queue, exchange, "", red);
        channel.queueBind(queue, exchange, "", blue);
        channel.queueUnbind(queue, exchange, "", red);
        channel.queueUnbind(queue, exchange, "never bound", blue);
        for (String colour : List.of("red", "blue")) {
            channel.basicPublish(exchange, "", headers(Map.of("colour", colour)), bytes(colour));
        }
        equal(drain(channel, queue), List.of("blue"), "messages");
    }

    static void consistentHashExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String byKey = session.exchange(channel, "x-consistent-hash", "by-key");
        List<String> queues = boundQueues(session, channel, byKey, "1", "1", "8");
        Map<String, String> places = hashed(channel, queues, number -> publish(channel, byKey, number, number));
        long heavy = places.values().stream().filter(queues.get(2)::equals).count();
        long light = places.values().stream().filter(queues.get(0)::equals).count();
        isTrue(heavy > light, "weight 8 gets more (" + heavy + ") than weight 1 (" + light + ")");

        Map<String, Object> hashHeader = Map.of("hash-header", "customer");
        String byHeader = session.exchange(channel, "x-consistent-hash", "by-header", false, false, hashHeader);
        List<String> others = boundQueues(session, channel, byHeader, "1", "1", "1");
        hashed(channel, others, number ->
                channel.basicPublish(byHeader, "same key", headers(Map.of("customer", number)), bytes(number)));
    }

    static void modulusHashExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "x-modulus-hash");
        List<String> queues = boundQueues(session, channel, exchange, "", "", "");
        hashed(channel, queues, number -> publish(channel, exchange, number, number));
    }

    private interface Publisher {
        void publish(String number) throws IOException;
    }

    private static List<String> boundQueues(Session session, Channel channel, String exchange, String... keys)
            throws IOException {
        List<String> queues = new ArrayList<>();
        for (String key : keys) {
            String queue = session.queue(channel, exchange + " " + queues.size());
            channel.queueBind(queue, exchange, key);
            queues.add(queue);
        }
        return queues;
    }

    /** Publishes 1 000 numbers twice, and returns to which queue each of them goes, always. */
    private static Map<String, String> hashed(Channel channel, List<String> queues, Publisher publisher)
            throws IOException {
        Map<String, String> places = spread(channel, queues, publisher, 1000);
        equal(spread(channel, queues, publisher, 1000).equals(places), true, "the same key goes to the same queue");
        return places;
    }

    /** Publishes numbers, each of which must arrive once, and some in each queue; returns in which queue each is. */
    private static Map<String, String> spread(
            Channel channel, List<String> queues, Publisher publisher, int count) throws IOException {
        for (String number : numbers(count)) {
            publisher.publish(number);
        }
        Map<String, String> places = new HashMap<>();
        int arrived = 0;
        for (String queue : queues) {
            List<String> bodies = drain(channel, queue);
            isTrue(!bodies.isEmpty(), queue + " got some");
            arrived += bodies.size();
            bodies.forEach(body -> places.put(body, queue));
        }
        equal(arrived, count, "messages in all queues");
        equal(places.keySet(), Set.copyOf(numbers(count)), "different messages");
        return places;
    }

    static void randomExchange(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "x-random");
        List<String> queues = boundQueues(session, channel, exchange, "", "", "");
        spread(channel, queues, number -> publish(channel, exchange, "same key", number), 200);
    }

    static void recentHistoryExchange(Session session) throws Exception {
        Channel channel = session.channel();
        Map<String, Object> length = Map.of("x-recent-history-length", 5);
        String exchange = session.exchange(channel, "x-recent-history", "exchange", false, false, length);
        String early = session.queue(channel, "early");
        channel.queueBind(early, exchange, "");
        for (String number : numbers(8)) {
            publish(channel, exchange, "key", number);
        }
        String late = session.queue(channel, "late");
        channel.queueBind(late, exchange, "");
        publish(channel, exchange, "key", "news");
        List<String> lastFive = List.of("3", "4", "5", "6", "7", "news");
        equal(drain(channel, late), lastFive, "the queue bound late");
        equal(drain(channel, early).size(), 9, "messages of the queue bound early");
    }

    static void delayedExchange(Session session) throws Exception {
        Channel channel = session.channel();
        Map<String, Object> overDirect = Map.of("x-delayed-type", "direct");
        String exchange = session.exchange(channel, "x-delayed-message", "exchange", false, false, overDirect);
        String queue = session.queue(channel);
        channel.queueBind(queue, exchange, "key");
        Map<String, Long> delaysMs = new ConcurrentHashMap<>();
        BlockingQueue<String> arrived = new LinkedBlockingQueue<>();
        long publishedNanos = System.nanoTime();
        channel.basicConsume(queue, true, (tag, delivery) -> {
            String body = Inbox.body(delivery);
            delaysMs.put(body, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - publishedNanos));
            arrived.add(body);
        }, tag -> {});
        channel.basicPublish(exchange, "other key", headers(Map.of("x-delay", 1)), bytes("nowhere"));
        for (int delay : List.of(600, 200, 400)) {
            channel.basicPublish(exchange, "key", headers(Map.of("x-delay", delay)), bytes(String.valueOf(delay)));
        }
        publish(channel, exchange, "key", "0");
        for (String delay : List.of("0", "200", "400", "600")) {
            equal(arrived.take(), delay, "next message");
            isTrue(delaysMs.get(delay) >= Long.parseLong(delay), delay + " ms have passed for " + delaysMs);
        }
    }

    static void senderSelectedKeys(Session session) throws Exception {
        Channel channel = session.channel();
        String exchange = session.exchange(channel, "direct");
        List<String> keys = List.of("to", "cc", "bcc");
        for (String key : keys) {
            channel.queueBind(session.queue(channel, key), exchange, key);
        }
        Map<String, Object> sent = Map.of("CC", List.of("cc", "to"), "BCC", List.of("bcc"), "kept", "yes");
        channel.basicPublish(exchange, "to", headers(sent), bytes("letter"));
        Map<String, Object> expected = Map.of(
                "CC", List.of(LongStringHelper.asLongString("cc"), LongStringHelper.asLongString("to")),
                "kept", LongStringHelper.asLongString("yes"));
        for (String key : keys) {
            String queue = session.name(key);
            GetResponse message = channel.basicGet(queue, true);
            equal(message.getEnvelope().getRoutingKey(), "to", "routing key to " + key);
            equal(message.getProps().getHeaders(), expected, "headers to " + key);
            equal(drain(channel, queue), List.of(), "further copies to " + key);
        }
    }
}
