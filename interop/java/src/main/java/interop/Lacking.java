package interop;

/** The client offers no way to do this; the message says what is missing. */
final class Lacking extends RuntimeException {
    Lacking(String reason) {
        super(reason);
    }
}
