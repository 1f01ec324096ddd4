package interop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event. */
public final class Main {
    private static final int SCENARIO_TIMEOUT_S = 45;

    private static final Class<?>[] SCENARIOS = {
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
        RestartScenarios.class,
    };

    private final Map<String, Method> scenarios = new LinkedHashMap<>();
    private final String url = System.getenv("AMQP_URL");

    private Main() {
        for (Class<?> group : SCENARIOS) {
            for (Method method : group.getDeclaredMethods()) {
                if (Arrays.equals(method.getParameterTypes(), new Class<?>[] {Session.class})) {
                    scenarios.put(scenarioName(method), method);
                }
            }
        }
    }

    public static void main(String[] names) {
        Main main = new Main();
        for (String name : names) {
            main.play(name);
        }
        System.exit(0);
    }

    /** body16Mib is body_16_mib. */
    private static String scenarioName(Method method) {
        return method.getName().replaceAll("(\\d+|[A-Z])", "_$1").toLowerCase();
    }

    private void play(String name) {
        Report.event(name, "started");
        long started = System.nanoTime();
        try (Session session = new Session(name, url)) {
            playWithin(SCENARIO_TIMEOUT_S, name, session);
            Report.passed(name, secondsSince(started));
        } catch (Lacking lack) {
            Report.lacking(name, lack.getMessage());
        } catch (Throwable failure) {
            Report.failed(name, secondsSince(started), describe(failure));
        }
    }

    private static double secondsSince(long startedNanos) {
        return (System.nanoTime() - startedNanos) / 1e9;
    }

    private void playWithin(int seconds, String name, Session session) throws Throwable {
        Method scenario = scenarios.get(name);
        if (scenario == null) {
            throw new AssertionError("the client has no such scenario");
        }
        ExecutorService executor = Executors.newSingleThreadExecutor();
        try {
            executor.submit(() -> scenario.invoke(null, session)).get(seconds, TimeUnit.SECONDS);
        } catch (TimeoutException timeout) {
            throw new AssertionError("not done after " + seconds + " s");
        } catch (ExecutionException failed) {
            Throwable cause = failed.getCause();
            throw cause instanceof InvocationTargetException ? cause.getCause() : cause;
        } finally {
            executor.shutdownNow();
        }
    }

    private static String describe(Throwable failure) {
        StringBuilder text = new StringBuilder(
                failure instanceof AssertionError ? String.valueOf(failure.getMessage()) : failure.toString());
        if (failure.getCause() != null) {
            text.append(": ").append(failure.getCause());
        }
        Arrays.stream(failure.getStackTrace())
                .filter(frame -> frame.getClassName().endsWith("Scenarios"))
                .findFirst()
                .ifPresent(frame -> text.append(" (").append(frame.getFileName()).append(':')
                        .append(frame.getLineNumber()).append(')'));
        return text.toString();
    }
}
