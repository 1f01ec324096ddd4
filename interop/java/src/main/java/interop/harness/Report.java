package interop.harness;

import java.util.Locale;

/** The events that the runner reads, a line of JSON each. */
public final class Report {
    private Report() {}

    public static void event(String scenario, String event) {
        print(scenario, event, "");
    }

    static void passed(String scenario, double seconds) {
        print(scenario, "passed", secondsField(seconds));
    }

    static void failed(String scenario, double seconds, String message) {
        print(scenario, "failed", secondsField(seconds) + messageField(message));
    }

    static void lacking(String scenario, String message) {
        print(scenario, "lacking", messageField(message));
    }

    private static String secondsField(double seconds) {
        return String.format(Locale.ROOT, ", \"seconds\": %.6f", seconds);
    }

    private static String messageField(String message) {
        return ", \"message\": " + quoted(message);
    }

    private static synchronized void print(String scenario, String event, String details) {
        System.out.println("{\"scenario\": " + quoted(scenario) + ", \"event\": " + quoted(event) + details + "}");
        System.out.flush();
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
