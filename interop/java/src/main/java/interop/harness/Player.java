package interop.harness;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Plays scenarios against the broker at AMQP_URL, a line of JSON for each event. */
public final class Player<S extends AutoCloseable> {
    private static final int SCENARIO_TIMEOUT_S = 45;

    private final Opening<S> opening;
    private final Map<String, Method> scenarios = new LinkedHashMap<>();
    private final String url = System.getenv("AMQP_URL");

    /** How a scenario's view of the broker is opened. */
    public interface Opening<S> {
        S open(String scenario, String url) throws Exception;
    }

    /** The scenarios are the methods of the groups whose only parameter is a session. */
    public Player(Class<S> session, Opening<S> opening, List<Class<?>> groups) {
        this.opening = opening;
        for (Class<?> group : groups) {
            for (Method method : group.getDeclaredMethods()) {
                if (Arrays.equals(method.getParameterTypes(), new Class<?>[] {session})) {
                    method.setAccessible(true);
                    scenarios.put(scenarioName(method), method);
                }
            }
        }
    }

    /** body16Mib is body_16_mib. */
    private static String scenarioName(Method method) {
        return method.getName().replaceAll("(\\d+|[A-Z])", "_$1").toLowerCase();
    }

    public void play(String name) {
        Report.event(name, "started");
        long started = System.nanoTime();
        try (S session = opening.open(name, url)) {
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

    private void playWithin(int seconds, String name, S session) throws Throwable {
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
