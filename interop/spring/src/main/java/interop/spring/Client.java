package interop.spring;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ShutdownSignalException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.Binding.DestinationType;
import org.springframework.amqp.core.Exchange;
import org.springframework.amqp.core.ExchangeBuilder;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.ChannelListener;
import org.springframework.amqp.rabbit.connection.Connection;
import org.springframework.amqp.rabbit.connection.ConnectionListener;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitOperations;
import org.springframework.amqp.rabbit.core.RabbitTemplate;

/** One connection with the template and the admin that an application has over it. */
final class Client {
    private static final int CONFIRM_TIMEOUT_MS = 10_000;

    final Session session;
    final CachingConnectionFactory factory;
    final RabbitTemplate template;
    final RabbitAdmin admin;
    /** Why the broker closed channels and connections. */
    final BlockingQueue<ShutdownSignalException> channelErrors = new LinkedBlockingQueue<>();
    final BlockingQueue<ShutdownSignalException> connectionErrors = new LinkedBlockingQueue<>();
    final AtomicInteger connectionsOpened = new AtomicInteger();

    Client(Session session, CachingConnectionFactory factory) {
        this.session = session;
        this.factory = factory;
        template = new RabbitTemplate(factory);
        admin = new RabbitAdmin(template);
        factory.addChannelListener(new ChannelListener() {
            @Override
            public void onCreate(Channel channel, boolean transactional) {}

            @Override
            public void onShutDown(ShutdownSignalException signal) {
                if (!signal.isInitiatedByApplication()) {
                    channelErrors.add(signal);
                }
            }
        });
        factory.addConnectionListener(new ConnectionListener() {
            @Override
            public void onCreate(Connection connection) {
                connectionsOpened.incrementAndGet();
            }

            @Override
            public void onShutDown(ShutdownSignalException signal) {
                if (!signal.isInitiatedByApplication()) {
                    connectionErrors.add(signal);
                }
            }
        });
    }

    /** Declares a queue that goes with the connection. */
    String queue() {
        return queue("queue");
    }

    String queue(String label) {
        return queue(label, UnaryOperator.identity());
    }

    String queue(String label, UnaryOperator<QueueBuilder> options) {
        QueueBuilder builder = QueueBuilder.nonDurable(session.name(label)).exclusive();
        return admin.declareQueue(options.apply(builder).build());
    }

    /** Declares a queue that any connection may use, deleted after the scenario. */
    String sharedQueue() {
        return sharedQueue("queue");
    }

    String sharedQueue(String label) {
        return sharedQueue(QueueBuilder.nonDurable(session.name(label)));
    }

    String sharedQueue(QueueBuilder builder) {
        String queue = admin.declareQueue(builder.build());
        session.afterwards(cleaner -> cleaner.deleteQueue(queue));
        return queue;
    }

    /** Declares an exchange, deleted after the scenario. */
    String exchange(String type) {
        return exchange(type, "exchange");
    }

    String exchange(String type, String label) {
        return exchange(type, label, UnaryOperator.identity());
    }

    String exchange(String type, String label, UnaryOperator<ExchangeBuilder> options) {
        Exchange exchange = options.apply(new ExchangeBuilder(session.name(label), type).durable(false)).build();
        return exchange(exchange);
    }

    String exchange(Exchange exchange) {
        admin.declareExchange(exchange);
        session.afterwards(cleaner -> cleaner.deleteExchange(exchange.getName()));
        return exchange.getName();
    }

    void bind(String queue, String exchange, String key) {
        bind(queue, exchange, key, Map.of());
    }

    void bind(String queue, String exchange, String key, Map<String, Object> arguments) {
        admin.declareBinding(new Binding(queue, DestinationType.QUEUE, exchange, key, arguments));
    }

    void send(String queue, String... bodies) {
        send(queue, List.of(bodies));
    }

    /** Publishes to a queue, and waits until the messages are there if the connection has confirms. */
    void send(String queue, List<String> bodies) {
        scoped(operations -> bodies.forEach(body -> operations.convertAndSend("", queue, body)));
    }

    void publish(String exchange, String key, Object body) {
        scoped(operations -> operations.convertAndSend(exchange, key, body));
    }

    /** With confirms, all that the action publishes goes over one channel, and is awaited. */
    void scoped(Consumer<RabbitOperations> action) {
        if (!factory.isSimplePublisherConfirms()) {
            action.accept(template);
            return;
        }
        template.invoke(operations -> {
            action.accept(operations);
            operations.waitForConfirmsOrDie(CONFIRM_TIMEOUT_MS);
            return null;
        });
    }

    /** Takes everything out of a queue. */
    List<Message> take(String queue) {
        List<Message> messages = new ArrayList<>();
        Message message;
        while ((message = template.receive(queue)) != null) {
            messages.add(message);
        }
        return messages;
    }

    List<String> drain(String queue) {
        return take(queue).stream().map(Client::text).collect(Collectors.toList());
    }

    /** Like drain; each body that was delivered before is marked with "again". */
    List<String> drainMarked(String queue) {
        return take(queue).stream().map(Client::marked).collect(Collectors.toList());
    }

    static String text(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    static String marked(Message message) {
        return text(message) + (message.getMessageProperties().isRedelivered() ? " again" : "");
    }

    static Message withHeaders(String body, Map<String, Object> headers) {
        MessageProperties properties = new MessageProperties();
        properties.setHeaders(headers);
        return new Message(body.getBytes(StandardCharsets.UTF_8), properties);
    }

    int ready(String queue) {
        return Math.toIntExact(admin.getQueueInfo(queue).getMessageCount());
    }

    int consumers(String queue) {
        return admin.getQueueInfo(queue).getConsumerCount();
    }
}
