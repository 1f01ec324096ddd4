package interop.harness;

/** The client offers no way to do this; the message says what is missing. */
public final class Lacking extends RuntimeException {
    public Lacking(String reason) {
        super(reason);
    }
}
