package dev.edgefm.bundle;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A JSON object whose members are of the kinds that are asked for; a BundleException names the one that is not. */
final class JsonObject {
    private final Map<?, ?> members;
    private final String where;

    JsonObject(Object value, String where) {
        if (!(value instanceof Map<?, ?> map)) {
            throw new BundleException(where + " is no JSON object");
        }
        members = map;
        this.where = where;
    }

    JsonObject object(String name) {
        return new JsonObject(members.get(name), where + ": " + name);
    }

    List<JsonObject> objects(String name) {
        List<JsonObject> objects = new ArrayList<>();
        for (Object item : list(name)) {
            objects.add(new JsonObject(item, where + ": " + name));
        }
        return objects;
    }

    List<String> texts(String name) {
        List<String> texts = new ArrayList<>();
        for (Object item : list(name)) {
            if (!(item instanceof String text)) {
                throw wrong(name, "list of texts");
            }
            texts.add(text);
        }
        return texts;
    }

    /** Returns whole numbers of 0 or more. */
    int[] sizes(String name) {
        List<?> items = list(name);
        int[] sizes = new int[items.size()];
        for (int place = 0; place < sizes.length; place++) {
            if (!(items.get(place) instanceof Double number)) {
                throw wrong(name, "list of sizes");
            }
            if (number != Math.rint(number) || number < 0 || number > 1e9) {
                throw wrong(name, "list of sizes");
            }
            sizes[place] = number.intValue();
        }
        return sizes;
    }

    double[] numbers(String name) {
        List<?> items = list(name);
        double[] numbers = new double[items.size()];
        for (int place = 0; place < numbers.length; place++) {
            if (!(items.get(place) instanceof Double number)) {
                throw wrong(name, "list of numbers");
            }
            numbers[place] = number;
        }
        return numbers;
    }

    String text(String name) {
        if (!(members.get(name) instanceof String text)) {
            throw wrong(name, "text");
        }
        return text;
    }

    /** Returns a text, or null where the member is missing or null. */
    String textOrNull(String name) {
        return members.get(name) == null ? null : text(name);
    }

    double number(String name) {
        if (!(members.get(name) instanceof Double number)) {
            throw wrong(name, "number");
        }
        return number;
    }

    /** Returns a number, or null where the member is missing or null. */
    Double numberOrNull(String name) {
        return members.get(name) == null ? null : Double.valueOf(number(name));
    }

    boolean isTrue(String name) {
        return Boolean.TRUE.equals(members.get(name));
    }

    /** Returns how many members there are. */
    int size() {
        return members.size();
    }

    boolean has(String name) {
        return members.get(name) != null;
    }

    private List<?> list(String name) {
        if (!(members.get(name) instanceof List<?> items)) {
            throw wrong(name, "list");
        }
        return items;
    }

    private BundleException wrong(String name, String wanted) {
        return new BundleException(where + ": " + name + " is no " + wanted);
    }
}
