package interop.spring;

import static interop.harness.Bodies.numbers;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;
import static interop.spring.Client.withHeaders;
import static interop.spring.Expect.channelError;
import static interop.spring.Expect.refused;

import interop.harness.TopicCases;
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
import java.util.function.BiConsumer;
import java.util.stream.Collectors;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.Binding.DestinationType;
import org.springframework.amqp.core.ConsistentHashExchange;
import org.springframework.amqp.core.DirectExchange;
import org.springframework.amqp.core.Exchange;
import org.springframework.amqp.core.ExchangeBuilder;
import org.springframework.amqp.core.FanoutExchange;
import org.springframework.amqp.core.HeadersExchange;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.core.RabbitOperations;

final class ExchangeScenarios {
    private ExchangeScenarios() {}

    static void predeclaredExchanges(Session session) {
        Client client = session.client();
        for (Exchange exchange : List.of(
                new DirectExchange("amq.direct"),
                new FanoutExchange("amq.fanout"),
                new TopicExchange("amq.topic"),
                new HeadersExchange("amq.headers"),
                new HeadersExchange("amq.match"))) {
            client.template.execute(channel -> channel.exchangeDeclarePassive(exchange.getName()));
            client.admin.declareExchange(exchange);
        }
    }

    static void exchangeMismatch(Session session) throws Exception {
        Client client = session.client();
        String exchange = client.exchange("direct");
        String flag = "received 'true' but current is 'false'";
        mismatch(client, exchange, "type", "received 'fanout' but current is 'direct'",
                ExchangeBuilder.fanoutExchange(exchange).durable(false));
        mismatch(client, exchange, "durable", flag, ExchangeBuilder.directExchange(exchange));
        mismatch(client, exchange, "auto_delete", flag,
                ExchangeBuilder.directExchange(exchange).durable(false).autoDelete());
        mismatch(client, exchange, "internal", flag,
                ExchangeBuilder.directExchange(exchange).durable(false).internal());
        mismatch(client, exchange, "alternate-exchange",
                "received the value 'amq.fanout' of type 'longstr' but current is none",
                ExchangeBuilder.directExchange(exchange).durable(false).alternate("amq.fanout"));
        client.admin.declareExchange(new DirectExchange(exchange, false, false));
    }

    private static void mismatch(
            Client client, String exchange, String argument, String difference, ExchangeBuilder declared)
            throws Exception {
        String text = "PRECONDITION_FAILED - inequivalent arg '" + argument + "' for exchange '" + exchange
                + "' in vhost '/': " + difference;
        refused(client, 406, text, () -> client.admin.declareExchange(declared.build()));
    }

    static void defaultExchange(Session session) {
        Client client = session.client();
        String first = client.queue("first");
        String second = client.queue("second");
        client.scoped(operations -> {
            operations.convertAndSend(first, "to first");
            operations.convertAndSend(second, "to second");
            operations.convertAndSend(session.name("nobody"), "to nobody");
        });
        equal(client.drain(first), List.of("to first"), "first");
        equal(client.drain(second), List.of("to second"), "second");
    }

    static void directExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange("direct");
        String errors = client.queue("errors");
        String everything = client.queue("everything");
        client.bind(errors, exchange, "error");
        for (String severity : List.of("info", "warning", "error", "error")) {
            client.bind(everything, exchange, severity);
        }
        client.scoped(operations -> List.of("info", "warning", "error", "debug")
                .forEach(severity -> operations.convertAndSend(exchange, severity, severity)));
        equal(client.drain(errors), List.of("error"), "errors");
        equal(client.drain(everything), List.of("info", "warning", "error"), "everything");
    }

    static void fanoutExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange("fanout");
        List<String> queues = new ArrayList<>();
        for (int n = 0; n < 5; n++) {
            queues.add(client.queue("queue-" + n));
            client.bind(queues.get(n), exchange, "ignored-" + n);
        }
        client.publish(exchange, "", "one");
        client.publish(exchange, "any.key", "two");
        for (String queue : queues) {
            equal(client.drain(queue), List.of("one", "two"), queue);
        }
    }

    static void topicExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange("topic");
        String once = client.queue("one copy");
        Set<String> patterns = new LinkedHashSet<>();
        TopicCases.CASES.values().forEach(patterns::addAll);
        for (String pattern : patterns) {
            client.bind(client.queue("[" + pattern + "]"), exchange, pattern);
            client.bind(once, exchange, pattern);
        }
        Set<String> keys = TopicCases.CASES.keySet();
        client.scoped(operations -> keys.forEach(key -> operations.convertAndSend(exchange, key, key)));
        for (String pattern : patterns) {
            List<String> expected = keys.stream()
                    .filter(key -> TopicCases.CASES.get(key).contains(pattern))
                    .collect(Collectors.toList());
            equal(client.drain(session.name("[" + pattern + "]")), expected, "keys that " + pattern + " matches");
        }
        equal(client.drain(once), new ArrayList<>(keys), "one copy of each");
    }

    static void headersExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange("headers");
        Map<String, Object> wanted = Map.of("format", "pdf", "pages", 3, "draft", false);
        String all = client.queue("all");
        String any = client.queue("any");
        String byDefault = client.queue("default");
        client.bind(all, exchange, "", with(wanted, "x-match", "all"));
        client.bind(any, exchange, "", with(wanted, "x-match", "any"));
        client.bind(byDefault, exchange, "", wanted);
        Map<String, Object> tiered = Map.of("format", "pdf", "x-tier", "gold");
        for (String match : List.of("all", "all-with-x", "any-with-x")) {
            client.bind(client.queue("tiered " + match), exchange, "", with(tiered, "x-match", match));
        }
        Map<String, Map<String, Object>> messages = new LinkedHashMap<>();
        messages.put("all", with(wanted, "extra", "ignored"));
        messages.put("format only", Map.of("format", "pdf", "pages", 4));
        messages.put("draft only", Map.of("draft", false));
        messages.put("none", Map.of("format", "zip", "pages", 4, "draft", true));
        messages.put("no headers", Map.of());
        messages.put("tiered", tiered);
        messages.put("tier only", Map.of("x-tier", "gold"));
        client.scoped(operations -> messages.forEach(
                (body, headers) -> operations.send(exchange, "", withHeaders(body, headers))));
        equal(client.drain(all), List.of("all"), "x-match all");
        equal(client.drain(any), List.of("all", "format only", "draft only", "tiered"), "x-match any");
        equal(client.drain(byDefault), List.of("all"), "no x-match");
        Map<String, List<String>> expected = Map.of(
                "all", List.of("all", "format only", "tiered"),
                "all-with-x", List.of("tiered"),
                "any-with-x", List.of("all", "format only", "tiered", "tier only"));
        expected.forEach((match, bodies) -> equal(
                client.drain(session.name("tiered " + match)), bodies, "x-match " + match + " with an x- header"));
    }

    private static Map<String, Object> with(Map<String, Object> table, String key, Object value) {
        Map<String, Object> extended = new HashMap<>(table);
        extended.put(key, value);
        return extended;
    }

    static void exchangeToExchange(Session session) {
        Client client = session.client();
        String source = client.exchange("topic", "source");
        String middle = client.exchange("fanout", "middle");
        String queue = client.queue();
        Binding toMiddle = new Binding(middle, DestinationType.EXCHANGE, source, "orders.#", Map.of());
        Binding direct = new Binding(queue, DestinationType.QUEUE, source, "#", Map.of());
        client.admin.declareBinding(toMiddle);
        client.admin.declareBinding(new Binding(source, DestinationType.EXCHANGE, middle, "", Map.of()));
        client.bind(queue, middle, "");
        client.admin.declareBinding(direct);
        client.publish(source, "orders.new", "both ways");
        client.publish(source, "other", "directly");
        equal(client.drain(queue), List.of("both ways", "directly"), "messages, one copy each");
        client.admin.removeBinding(toMiddle);
        client.admin.removeBinding(direct);
        client.publish(source, "orders.new", "nowhere");
        equal(client.drain(queue), List.of(), "messages after unbind");
    }

    static void alternateExchange(Session session) throws Exception {
        Client client = session.client(ConfirmType.CORRELATED);
        String fallback = client.exchange("fanout", "fallback");
        String exchange = client.exchange("direct", "main", builder -> builder.alternate(fallback));
        String known = client.queue("known");
        String unknown = client.queue("unknown");
        client.bind(known, exchange, "known");
        client.bind(unknown, fallback, "");
        List<String> returned = new CopyOnWriteArrayList<>();
        client.template.setMandatory(true);
        client.template.setReturnsCallback(message -> returned.add(message.getRoutingKey()));
        PublishingScenarios.confirmed(client, exchange, "known", "matched");
        PublishingScenarios.confirmed(client, exchange, "stray", "not matched");
        equal(client.drain(known), List.of("matched"), "matched");
        Message message = client.template.receive(unknown);
        equal(Client.text(message), "not matched", "not matched");
        equal(message.getMessageProperties().getReceivedExchange(), exchange, "exchange");
        equal(message.getMessageProperties().getReceivedRoutingKey(), "stray", "routing key");
        equal(returned, List.of(), "returned");
    }

    static void internalExchange(Session session) throws Exception {
        Client client = session.client();
        String front = client.exchange("direct", "front");
        String internal = client.exchange("fanout", "internal", builder -> builder.internal());
        String queue = client.queue();
        client.admin.declareBinding(new Binding(internal, DestinationType.EXCHANGE, front, "in", Map.of()));
        client.bind(queue, internal, "");
        client.publish(front, "in", "through the front");
        equal(client.drain(queue), List.of("through the front"), "messages");
        refused(client, 403, "ACCESS_REFUSED - cannot publish to internal exchange '" + internal + "' in vhost '/'",
                () -> client.template.convertAndSend(internal, "", "directly"));
        equal(client.drain(queue), List.of(), "messages after the refused publish");
    }

    static void autoDeleteExchange(Session session) throws Exception {
        Client client = session.client();
        String exchange = client.exchange("fanout", "exchange", builder -> builder.autoDelete());
        String queue = client.queue();
        Binding one = new Binding(queue, DestinationType.QUEUE, exchange, "one", Map.of());
        Binding two = new Binding(queue, DestinationType.QUEUE, exchange, "two", Map.of());
        client.admin.declareBinding(one);
        client.admin.declareBinding(two);
        client.admin.removeBinding(one);
        client.template.execute(channel -> channel.exchangeDeclarePassive(exchange));
        client.admin.removeBinding(two);
        channelError(client, 404, "NOT_FOUND - no exchange '" + exchange + "' in vhost '/'",
                channel -> channel.exchangeDeclarePassive(exchange));
    }

    static void unbind(Session session) {
        Client client = session.client();
        String exchange = client.exchange("headers");
        String queue = client.queue();
        Map<String, Object> red = Map.of("x-match", "all", "colour", "red");
        Map<String, Object> blue = Map.of("x-match", "all", "colour", "blue");
        client.bind(queue, exchange, "", red);
        client.bind(queue, exchange, "", blue);
        client.admin.removeBinding(new Binding(queue, DestinationType.QUEUE, exchange, "", red));
        client.admin.removeBinding(new Binding(queue, DestinationType.QUEUE, exchange, "never bound", blue));
        client.scoped(operations -> List.of("red", "blue").forEach(
                colour -> operations.send(exchange, "", withHeaders(colour, Map.of("colour", colour)))));
        equal(client.drain(queue), List.of("blue"), "messages");
    }

    static void consistentHashExchange(Session session) {
        Client client = session.client();
        String byKey = client.exchange(new ConsistentHashExchange(session.name("by-key"), false, false));
        List<String> queues = boundQueues(client, byKey, "1", "1", "8");
        Map<String, String> places = hashed(
                client, queues, (operations, number) -> operations.convertAndSend(byKey, number, number));
        long heavy = places.values().stream().filter(queues.get(2)::equals).count();
        long light = places.values().stream().filter(queues.get(0)::equals).count();
        isTrue(heavy > light, "weight 8 gets more (" + heavy + ") than weight 1 (" + light + ")");

        ConsistentHashExchange hashing = new ConsistentHashExchange(session.name("by-header"), false, false);
        hashing.setHashHeader("customer");
        String byHeader = client.exchange(hashing);
        List<String> others = boundQueues(client, byHeader, "1", "1", "1");
        hashed(client, others, (operations, number) ->
                operations.send(byHeader, "same key", withHeaders(number, Map.of("customer", number))));
    }

    static void modulusHashExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange("x-modulus-hash");
        List<String> queues = boundQueues(client, exchange, "", "", "");
        hashed(client, queues, (operations, number) -> operations.convertAndSend(exchange, number, number));
    }

    private static List<String> boundQueues(Client client, String exchange, String... keys) {
        List<String> queues = new ArrayList<>();
        for (String key : keys) {
            String queue = client.queue(exchange + " " + queues.size());
            client.bind(queue, exchange, key);
            queues.add(queue);
        }
        return queues;
    }

    /** Publishes 1 000 numbers twice, and returns to which queue each of them goes, always. */
    private static Map<String, String> hashed(
            Client client, List<String> queues, BiConsumer<RabbitOperations, String> publisher) {
        Map<String, String> places = spread(client, queues, publisher, 1000);
        equal(spread(client, queues, publisher, 1000).equals(places), true, "the same key goes to the same queue");
        return places;
    }

    /** Publishes numbers, each of which must arrive once, and some in each queue; returns in which queue each is. */
    private static Map<String, String> spread(
            Client client, List<String> queues, BiConsumer<RabbitOperations, String> publisher, int count) {
        client.scoped(operations -> numbers(count).forEach(number -> publisher.accept(operations, number)));
        Map<String, String> places = new HashMap<>();
        int arrived = 0;
        for (String queue : queues) {
            List<String> bodies = client.drain(queue);
            isTrue(!bodies.isEmpty(), queue + " got some");
            arrived += bodies.size();
            bodies.forEach(body -> places.put(body, queue));
        }
        equal(arrived, count, "messages in all queues");
        equal(places.keySet(), Set.copyOf(numbers(count)), "different messages");
        return places;
    }

    static void randomExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange("x-random");
        List<String> queues = boundQueues(client, exchange, "", "", "");
        spread(client, queues, (operations, number) -> operations.convertAndSend(exchange, "same key", number), 200);
    }

    static void recentHistoryExchange(Session session) {
        Client client = session.client();
        String exchange = client.exchange(
                "x-recent-history", "exchange", builder -> builder.withArgument("x-recent-history-length", 5));
        String early = client.queue("early");
        client.bind(early, exchange, "");
        client.scoped(operations ->
                numbers(8).forEach(number -> operations.convertAndSend(exchange, "key", number)));
        String late = client.queue("late");
        client.bind(late, exchange, "");
        client.publish(exchange, "key", "news");
        equal(client.drain(late), List.of("3", "4", "5", "6", "7", "news"), "the queue bound late");
        equal(client.drain(early).size(), 9, "messages of the queue bound early");
    }

    static void delayedExchange(Session session) throws Exception {
        Client client = session.client();
        DirectExchange delaying = new DirectExchange(session.name("exchange"), false, false);
        delaying.setDelayed(true);
        String exchange = client.exchange(delaying);
        String queue = client.queue();
        client.bind(queue, exchange, "key");
        Map<String, Long> delaysMs = new ConcurrentHashMap<>();
        BlockingQueue<Message> arrived = new LinkedBlockingQueue<>();
        long publishedNanos = System.nanoTime();
        Listening.direct(client, message -> {
            delaysMs.put(Client.text(message), TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - publishedNanos));
            arrived.add(message);
        }, container -> {}, queue);
        client.template.send(exchange, "other key", delayed("nowhere", 1L));
        for (long delay : List.of(600L, 200L, 400L)) {
            client.template.send(exchange, "key", delayed(String.valueOf(delay), delay));
        }
        client.template.convertAndSend(exchange, "key", "0");
        for (String delay : List.of("0", "200", "400", "600")) {
            Message message = arrived.take();
            equal(Client.text(message), delay, "next message");
            isTrue(delaysMs.get(delay) >= Long.parseLong(delay), delay + " ms have passed for " + delaysMs);
            Long expected = delay.equals("0") ? null : Long.valueOf(delay);
            equal(message.getMessageProperties().getReceivedDelayLong(), expected, "received delay");
        }
    }

    private static Message delayed(String body, long delayMs) {
        MessageProperties properties = new MessageProperties();
        properties.setDelayLong(delayMs);
        return new Message(body.getBytes(), properties);
    }

    static void senderSelectedKeys(Session session) {
        Client client = session.client();
        String exchange = client.exchange("direct");
        List<String> keys = List.of("to", "cc", "bcc");
        keys.forEach(key -> client.bind(client.queue(key), exchange, key));
        Map<String, Object> sent = Map.of("CC", List.of("cc", "to"), "BCC", List.of("bcc"), "kept", "yes");
        client.scoped(operations -> operations.send(exchange, "to", withHeaders("letter", sent)));
        for (String key : keys) {
            List<Message> messages = client.take(session.name(key));
            equal(messages.size(), 1, "copies to " + key);
            MessageProperties properties = messages.get(0).getMessageProperties();
            equal(properties.getReceivedRoutingKey(), "to", "routing key to " + key);
            equal(properties.getHeaders(), Map.of("CC", List.of("cc", "to"), "kept", "yes"), "headers to " + key);
        }
    }
}
