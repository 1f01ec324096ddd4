import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Topics: sends a line with a routing key of several words, such as kern.critical. */
public class EmitLogTopic {
    public static void main(String[] args) throws Exception {
        String key = args.length > 0 ? args[0] : "anonymous.info";
        String message =
                args.length > 1 ? String.join(" ", Arrays.copyOfRange(args, 1, args.length)) : "Hello World!";
        try (Connection connection = Broker.connect()) {
            Channel channel = connection.createChannel();
            channel.exchangeDeclare("topic_logs", BuiltinExchangeType.TOPIC);
            channel.basicPublish("topic_logs", key, null, message.getBytes(StandardCharsets.UTF_8));
            System.out.println(" [x] Sent " + key + ":'" + message + "'");
        }
    }
}
