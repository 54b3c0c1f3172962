package dev.edgefm.bundle;

/** A bundle that is damaged, of a newer kind, or given something that its model does not take. */
public final class BundleException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public BundleException(String message) {
        super(message);
    }

    public BundleException(String message, Throwable cause) {
        super(message, cause);
    }
}
