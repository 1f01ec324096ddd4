package interop;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.GetResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** Steps that many scenarios share. */
final class Amqp {
    private Amqp() {}

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(GetResponse message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    static void send(Channel channel, String queue, String... bodies) throws IOException {
        for (String body : bodies) {
            publish(channel, "", queue, body);
        }
    }

    static void send(Channel channel, String queue, List<String> bodies) throws IOException {
        send(channel, queue, bodies.toArray(String[]::new));
    }

    static void publish(Channel channel, String exchange, String key, String body) throws IOException {
        channel.basicPublish(exchange, key, null, bytes(body));
    }

    static AMQP.BasicProperties headers(Map<String, Object> headers) {
        return new AMQP.BasicProperties.Builder().headers(headers).build();
    }

    /** Takes everything out of a queue with get. */
    static List<GetResponse> take(Channel channel, String queue) throws IOException {
        List<GetResponse> messages = new ArrayList<>();
        GetResponse message;
        while ((message = channel.basicGet(queue, true)) != null) {
            messages.add(message);
        }
        return messages;
    }

    static List<String> drain(Channel channel, String queue) throws IOException {
        return take(channel, queue).stream().map(Amqp::text).collect(Collectors.toList());
    }

    /** Like drain; each body that was delivered before is marked with "again". */
    static List<String> drainMarked(Channel channel, String queue) throws IOException {
        return take(channel, queue).stream()
                .map(message -> text(message) + (message.getEnvelope().isRedeliver() ? " again" : ""))
                .collect(Collectors.toList());
    }
}
