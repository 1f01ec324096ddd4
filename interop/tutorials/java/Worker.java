import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DeliverCallback;
import java.nio.charset.StandardCharsets;

/**
 * Work queues: does one task at a time, and acknowledges it when it is done.
 *
 * <p>A dot in a task is a second of work, or as many as the argument says.
 */
public class Worker {
    public static void main(String[] args) throws Exception {
        double secondsPerDot = args.length > 0 ? Double.parseDouble(args[0]) : 1;
        Connection connection = Broker.connect();
        Broker.closeOnInterrupt(connection);
        Channel channel = connection.createChannel();
        channel.queueDeclare("task_queue", true, false, false, null);
        // No second task for a worker that has not acknowledged its first.
        channel.basicQos(1);

        DeliverCallback onTask = (consumerTag, delivery) -> {
            String task = new String(delivery.getBody(), StandardCharsets.UTF_8);
            System.out.println(" [x] Received '" + task + "'");
            work(task, secondsPerDot);
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            System.out.println(" [x] Done");
        };
        channel.basicConsume("task_queue", false, onTask, consumerTag -> {});
        System.out.println(" [*] Waiting for messages. To exit press CTRL+C");
    }

    private static void work(String task, double secondsPerDot) {
        long dots = task.chars().filter(c -> c == '.').count();
        try {
            Thread.sleep(Math.round(1000 * secondsPerDot * dots));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
