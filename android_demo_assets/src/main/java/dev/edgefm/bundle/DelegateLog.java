package dev.edgefm.bundle;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What LiteRT logs of who runs which operators: its Kotlin API tells nothing of that.
 *
 * <p>A line names how many operators of a graph a delegate took, such as "Replacing 31 out of 33 node(s) with delegate
 * (TfLiteXNNPackDelegate) node, yielding 2 partitions for subgraph 0 ()." XNNPACK is the CPU; any other is an
 * accelerator. What a delegate gives back while it builds its part shows in no such line.
 *
 * @param taken for each such line what it says; those of the main graph alone, each once
 * @param unsupported what an accelerator says it does not support, a line each
 */
public record DelegateLog(List<Taken> taken, List<String> unsupported) {
    /**
     * Operators that a delegate took.
     *
     * @param delegate as LiteRT names it
     * @param operators that it took
     * @param of operators that the graph had then
     * @param partitions pieces of the graph
     */
    public record Taken(String delegate, int operators, int of, int partitions) {
        boolean cpu() {
            return delegate.contains("XNNPack") || delegate.contains("XNNPACK");
        }
    }

    private static final Pattern TAKEN = Pattern.compile("Replacing (\\d{1,9}) out of (\\d{1,9}) node\\(s\\) with"
            + " delegate \\(([^()]*)\\) node, yielding (\\d{1,9}) partitions(?: for subgraph (\\d{1,9}))?");
    private static final Pattern UNSUPPORTED = Pattern.compile("\\b([A-Z][A-Z0-9_]+: .*[Nn]ot supported.*)$");
    private static final int MOST = 20;

    static DelegateLog read(List<String> lines) {
        List<Taken> taken = new ArrayList<>();
        List<String> unsupported = new ArrayList<>();
        for (String line : lines) {
            Matcher match = TAKEN.matcher(line);
            if (match.find() && (match.group(5) == null || Integer.parseInt(match.group(5)) == 0)) {
                Taken one = new Taken(
                        match.group(3), Integer.parseInt(match.group(1)), Integer.parseInt(match.group(2)),
                        Integer.parseInt(match.group(4)));
                if (!taken.contains(one) && taken.size() < MOST) {
                    taken.add(one);
                }
            }
            Matcher refused = UNSUPPORTED.matcher(line);
            if (refused.find() && !unsupported.contains(refused.group(1)) && unsupported.size() < MOST) {
                unsupported.add(refused.group(1));
            }
        }
        return new DelegateLog(taken, unsupported);
    }

    /**
     * Returns the share of the main graph's operators that a delegate took.
     *
     * @param cpu by XNNPACK, which runs on the CPU; otherwise by an accelerator's delegate
     * @return 0 to 1; null where the log says nothing of such a delegate
     */
    public Double share(boolean cpu) {
        for (Taken one : taken) {
            if (one.cpu() == cpu && one.of() > 0) {
                return Math.min(1.0, (double) one.operators() / one.of());
            }
        }
        return null;
    }
}
