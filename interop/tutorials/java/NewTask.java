import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.MessageProperties;
import java.nio.charset.StandardCharsets;

/** Work queues: sends a task that survives a restart of the broker. Each dot in it is a bit of work. */
public class NewTask {
    public static void main(String[] args) throws Exception {
        String task = args.length > 0 ? String.join(" ", args) : "Hello World!";
        try (Connection connection = Broker.connect()) {
            Channel channel = connection.createChannel();
            channel.queueDeclare("task_queue", true, false, false, null);
            channel.basicPublish(
                    "",
                    "task_queue",
                    MessageProperties.PERSISTENT_TEXT_PLAIN,
                    task.getBytes(StandardCharsets.UTF_8));
            System.out.println(" [x] Sent '" + task + "'");
        }
    }
}
