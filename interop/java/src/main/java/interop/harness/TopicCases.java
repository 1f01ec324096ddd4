package interop.harness;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Routing keys, each with the patterns that match it. */
public final class TopicCases {
    private TopicCases() {}

    public static final Map<String, List<String>> CASES = new LinkedHashMap<>();

    static {
        CASES.put("a.b.c", List.of(
                "a.b.c", "a.*.c", "*.b.*", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "#.b.#"));
        CASES.put("a.c", List.of("#", "a.#", "#.c", "a.#.c", "a.#.#", "*.*"));
        CASES.put("a", List.of("#", "a.#", "*", "a.#.#"));
        CASES.put("", List.of("#"));
        CASES.put("a..c", List.of("a.*.c", "*.*.*", "#", "a.#", "#.c", "a.#.c", "a.#.#", "a..c"));
        CASES.put("b", List.of("#", "*", "#.b.#"));
    }
}
