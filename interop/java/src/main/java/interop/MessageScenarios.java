package interop;

import static interop.Amqp.bytes;
import static interop.Amqp.headers;
import static interop.harness.Bodies.pattern;
import static interop.harness.Check.equal;
import static interop.harness.Check.isTrue;
import static interop.harness.Check.sameValue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.impl.LongStringHelper;
import java.math.BigDecimal;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

final class MessageScenarios {
    private static final int FRAME_MAX = 131072;
    private static final int FRAME_OVERHEAD = 8;

    private MessageScenarios() {}

    private static LongString string(String text) {
        return LongStringHelper.asLongString(text);
    }

    static void messageProperties(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        AMQP.BasicProperties every = new AMQP.BasicProperties.Builder()
                .contentType("application/json")
                .contentEncoding("gzip")
                .headers(Map.of("key", string("value")))
                .deliveryMode(2)
                .priority(7)
                .correlationId("correlation")
                .replyTo("reply.queue")
                .expiration("3600000")
                .messageId("message-1")
                .timestamp(new Date(1700000000_000L))
                .type("order.created")
                .userId(session.factory().getUsername())
                .appId("interop")
                .clusterId("cluster")
                .build();
        AMQP.BasicProperties none = new AMQP.BasicProperties.Builder().build();
        AMQP.BasicProperties zero = new AMQP.BasicProperties.Builder().priority(0).headers(Map.of()).build();
        for (AMQP.BasicProperties given : List.of(every, none, zero)) {
            channel.basicPublish("", queue, given, bytes("body"));
            equal(channel.basicGet(queue, true).getProps(), given, "properties");
        }
    }

    static void headerFieldTypes(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        Map<String, Object> scalars = new HashMap<>();
        scalars.put("longstr", string("text äöü"));
        scalars.put("empty longstr", string(""));
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
        table.put("array", List.of(1, string("two"), List.of(true, 3L), Map.of("four", 4)));
        table.put("empty array", List.of());
        table.put("table", Map.of("scalars", scalars, "deeper", Map.of("deepest", Map.of())));
        table.put("k".repeat(255), string("long key"));
        channel.basicPublish("", queue, headers(table), new byte[0]);
        Map<String, Object> received = channel.basicGet(queue, true).getProps().getHeaders();
        isTrue(sameValue(received, table), "headers are equal: sent " + table + ", received " + received);
    }

    static void bodySizes(Session session) throws Exception {
        Channel channel = session.channel();
        equal(channel.getConnection().getFrameMax(), FRAME_MAX, "frame_max");
        String queue = session.queue(channel);
        Inbox inbox = Inbox.openNoAck(channel, queue);
        int frame = FRAME_MAX - FRAME_OVERHEAD;
        List<Integer> sizes =
                List.of(0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1);
        for (int size : sizes) {
            channel.basicPublish("", queue, null, pattern(size));
        }
        List<Delivery> received = inbox.await(sizes.size());
        for (int n = 0; n < sizes.size(); n++) {
            equal(received.get(n).getBody().length, sizes.get(n), "body size");
            isTrue(sameValue(received.get(n).getBody(), pattern(sizes.get(n))), "body of " + sizes.get(n) + " bytes");
        }
    }

    static void body16Mib(Session session) throws Exception {
        Channel channel = session.channel();
        String queue = session.queue(channel);
        byte[] body = new byte[16 * 1024 * 1024];
        new Random(16).nextBytes(body);
        channel.confirmSelect();
        channel.basicPublish("", queue, null, body);
        channel.waitForConfirmsOrDie();
        byte[] received = Inbox.openNoAck(channel, queue).await(1).get(0).getBody();
        equal(received.length, body.length, "body size");
        isTrue(sameValue(received, body), "body unchanged");
    }
}
