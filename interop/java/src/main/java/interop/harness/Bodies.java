package interop.harness;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** What messages carry. */
public final class Bodies {
    private Bodies() {}

    public static List<String> numbers(int count) {
        return IntStream.range(0, count).mapToObj(String::valueOf).collect(Collectors.toList());
    }

    public static byte[] pattern(int size) {
        byte[] body = new byte[size];
        for (int n = 0; n < size; n++) {
            body[n] = (byte) (n % 251);
        }
        return body;
    }
}
