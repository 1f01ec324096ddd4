package interop;

import interop.harness.Player;
import java.util.List;

/** Plays the scenarios named as arguments. */
public final class Main {
    private static final List<Class<?>> SCENARIOS = List.of(
            ConnectionScenarios.class,
            ChannelScenarios.class,
            QueueScenarios.class,
            ExchangeScenarios.class,
            DeadLetterScenarios.class,
            MessageScenarios.class,
            PublishingScenarios.class,
            ConsumingScenarios.class,
            TransactionAndRpcScenarios.class,
            LoadScenarios.class,
            RestartScenarios.class);

    private Main() {}

    public static void main(String[] names) {
        Player<Session> player = new Player<>(Session.class, Session::new, SCENARIOS);
        for (String name : names) {
            player.play(name);
        }
        System.exit(0);
    }
}
