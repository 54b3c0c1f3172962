package dev.edgefm.bundle;

import java.util.List;

/** Goes through the steps of contract.json in their order; a BundleException names the first that is not expected. */
final class StepReader {
    private final List<JsonObject> steps;
    private int place = -1;

    StepReader(List<JsonObject> steps) {
        this.steps = steps;
    }

    /** Goes to the next step, which must have a name and so many keys, its name included. */
    void next(String name, int keys) {
        place++;
        if (place == steps.size()) {
            throw refused("missing, where this adapter carries out '" + name + "'");
        }
        String found = steps.get(place).text("step");
        if (!found.equals(name)) {
            throw refused("'" + found + "', where this adapter carries out '" + name + "'");
        }
        if (steps.get(place).size() != keys) {
            throw refused("'" + name + "' with other keys than this adapter knows");
        }
    }

    /** Refuses a step more. */
    void end() {
        place++;
        if (place < steps.size()) {
            throw refused("'" + steps.get(place).text("step") + "', which this adapter does not carry out");
        }
    }

    String choice(String key, String... known) {
        String value = steps.get(place).text(key);
        for (String each : known) {
            if (each.equals(value)) {
                return value;
            }
        }
        throw value(key, value);
    }

    /** Returns a whole number. */
    int level(String key, int least, int greatest) {
        double value = number(key);
        if (value < least || value > greatest || value != Math.rint(value)) {
            throw value(key, "" + value);
        }
        return (int) value;
    }

    double number(String key) {
        return steps.get(place).number(key);
    }

    void number(String key, double wanted) {
        if (number(key) != wanted) {
            throw value(key, "" + number(key));
        }
    }

    void isTrue(String key, boolean wanted) {
        if (!steps.get(place).has(key) || steps.get(place).isTrue(key) != wanted) {
            throw value(key, wanted ? "false" : "true");
        }
    }

    private BundleException value(String key, String value) {
        return refused("of the " + key + " " + value + ", which this adapter does not carry out");
    }

    private BundleException refused(String why) {
        return new BundleException(
                "step " + (place + 1) + " of contract.json is " + why + ": take the adapter of the same bundle");
    }
}
