package interop.spring;

import static interop.harness.Bodies.pattern;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;
import static interop.harness.Check.sameValue;
import static interop.spring.Client.withHeaders;

import com.rabbitmq.client.AMQP;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.core.MessageProperties;

final class MessageScenarios {
    private static final int FRAME_MAX = 131072;
    private static final int FRAME_OVERHEAD = 8;

    private MessageScenarios() {}

    static void messageProperties(Session session) {
        Client client = session.client();
        String queue = client.queue();
        String user = client.factory.getUsername();
        Message every = MessageBuilder.withBody("body".getBytes())
                .setContentType("application/json")
                .setContentEncoding("gzip")
                .setHeader("key", "value")
                .setDeliveryMode(MessageDeliveryMode.PERSISTENT)
                .setPriority(7)
                .setCorrelationId("correlation")
                .setReplyTo("reply.queue")
                .setExpiration("3600000")
                .setMessageId("message-1")
                .setTimestamp(new Date(1700000000_000L))
                .setType("order.created")
                .setUserId(user)
                .setAppId("interop")
                .setClusterId("cluster")
                .build();
        client.scoped(operations -> operations.send("", queue, every));
        MessageProperties received = client.template.receive(queue).getMessageProperties();
        List<Object> properties = Arrays.asList(
                received.getContentType(), received.getContentEncoding(), received.getHeaders(),
                received.getReceivedDeliveryMode(), received.getPriority(), received.getCorrelationId(),
                received.getReplyTo(), received.getExpiration(), received.getMessageId(), received.getTimestamp(),
                received.getType(), received.getReceivedUserId(), received.getAppId(), received.getClusterId());
        List<Object> expected = List.of(
                "application/json", "gzip", Map.of("key", "value"),
                MessageDeliveryMode.PERSISTENT, 7, "correlation",
                "reply.queue", "3600000", "message-1", new Date(1700000000_000L),
                "order.created", user, "interop", "cluster");
        equal(properties, expected, "properties");

        MessageProperties none = new MessageProperties();
        none.setContentType(null);
        none.setDeliveryMode(null);
        none.setPriority(null);
        client.scoped(operations -> operations.send("", queue, new Message(new byte[0], none)));
        AMQP.BasicProperties bare =
                client.template.execute(channel -> channel.basicGet(queue, true).getProps());
        equal(bare, new AMQP.BasicProperties.Builder().headers(Map.of()).build(), "properties of a bare message");
    }

    static void headerFieldTypes(Session session) {
        Client client = session.client();
        String queue = client.queue();
        Map<String, Object> scalars = new HashMap<>();
        scalars.put("longstr", "text äöü");
        scalars.put("empty longstr", "");
        scalars.put("bytes", new byte[] {0, -1, -2});
        scalars.put("true", true);
        scalars.put("false", false);
        scalars.put("byte", Byte.MIN_VALUE);
        scalars.put("short", Short.MIN_VALUE);
        scalars.put("int", Integer.MIN_VALUE);
        scalars.put("long", Long.MIN_VALUE);
        scalars.put("float", 0.1f);
        scalars.put("double", 1.2345678901234567);
        scalars.put("decimal", new BigDecimal("12.345"));
        scalars.put("timestamp", new Date(1709209815_000L));
        scalars.put("void", null);
        Map<String, Object> table = new HashMap<>(scalars);
        table.put("array", List.of(1, "two", List.of(true, 3L), Map.of("four", 4)));
        table.put("empty array", List.of());
        table.put("table", Map.of("scalars", scalars, "deeper", Map.of("deepest", Map.of())));
        table.put("k".repeat(255), "long key");
        client.scoped(operations -> operations.send("", queue, withHeaders("", table)));
        Map<String, Object> received = client.template.receive(queue).getMessageProperties().getHeaders();
        isTrue(sameValue(received, table), "headers are equal: sent " + table + ", received " + received);
    }

    static void bodySizes(Session session) throws Exception {
        Client client = session.client();
        equal(client.factory.createConnection().getDelegate().getFrameMax(), FRAME_MAX, "frame_max");
        String queue = client.queue();
        Inbox inbox = Inbox.openNoAck(client, queue);
        int frame = FRAME_MAX - FRAME_OVERHEAD;
        List<Integer> sizes =
                List.of(0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1);
        client.scoped(operations -> sizes.forEach(size -> operations.convertAndSend("", queue, pattern(size))));
        List<Inbox.Delivery> received = inbox.await(sizes.size());
        for (int n = 0; n < sizes.size(); n++) {
            bodyIs(received.get(n), pattern(sizes.get(n)));
        }
    }

    private static void bodyIs(Inbox.Delivery delivery, byte[] body) {
        byte[] received = delivery.message().getBody();
        equal(received.length, body.length, "body size");
        isTrue(sameValue(received, body), "body of " + body.length + " bytes unchanged");
    }

    static void body16Mib(Session session) throws Exception {
        Client client = session.client();
        String queue = client.queue();
        byte[] body = new byte[16 * 1024 * 1024];
        new Random(16).nextBytes(body);
        client.publish("", queue, body);
        bodyIs(Inbox.openNoAck(client, queue).awaitNumber(1), body);
    }
}
