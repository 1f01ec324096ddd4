package interop;

import static interop.harness.Check.EVENT_TIMEOUT_S;
import static interop.harness.Check.eventually;
import static interop.harness.Check.reasonIs;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ShutdownNotifier;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The state of queues, and the errors that the broker must answer with. */
final class Expect {
    private Expect() {}

    interface Action {
        void run() throws Exception;
    }

    interface ChannelAction {
        void run(Channel channel) throws Exception;
    }

    /** RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue. */
    static void awaitReady(Channel channel, String queue, int count) throws Exception {
        eventually(() -> channel.messageCount(queue) == count, count + " messages ready");
    }

    /** Runs the action on a new channel, which the broker must close with this code and text. */
    static void channelError(Connection connection, int code, String text, ChannelAction action) throws Exception {
        Channel channel = connection.createChannel();
        closedByBroker(channel, code, text, () -> action.run(channel));
    }

    /** Runs the action, upon which the broker must close the channel or connection with this code and text. */
    static void closedByBroker(ShutdownNotifier closing, int code, String text, Action action) throws Exception {
        CompletableFuture<ShutdownSignalException> closed = new CompletableFuture<>();
        closing.addShutdownListener(closed::complete);
        try {
            action.run();
        } catch (IOException | ShutdownSignalException e) {
            // The shutdown listener is told the reason.
        }
        try {
            reasonIs(closed.get(EVENT_TIMEOUT_S, TimeUnit.SECONDS), code, text);
        } catch (TimeoutException e) {
            throw new AssertionError("not closed, expected " + code + " " + text);
        }
    }
}
