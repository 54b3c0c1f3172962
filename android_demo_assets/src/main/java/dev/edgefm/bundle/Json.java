package dev.edgefm.bundle;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads JSON as RFC 8259 says it, and nothing else: no comments, no NaN, no key twice, no text behind the value.
 *
 * <p>Java has no reader of its own. Objects become Map, arrays List, numbers Double, null null.
 */
final class Json {
    private static final int DEEPEST = 100;
    private final String text;
    private int place;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /** Returns the value that a text holds; a BundleException says where it is no JSON. */
    static Object parse(String text) {
        Json reader = new Json(text);
        Object value = reader.value();
        reader.space();
        if (reader.place != text.length()) {
            throw reader.wrong("the end");
        }
        return value;
    }

    private Object value() {
        space();
        if (depth++ == DEEPEST) {
            throw wrong("at most " + DEEPEST + " levels");
        }
        Object value =
                switch (peek()) {
                    case '{' -> object();
                    case '[' -> array();
                    case '"' -> string();
                    case 't' -> word("true", Boolean.TRUE);
                    case 'f' -> word("false", Boolean.FALSE);
                    case 'n' -> word("null", null);
                    default -> number();
                };
        depth--;
        return value;
    }

    private Map<String, Object> object() {
        Map<String, Object> members = new LinkedHashMap<>();
        place++;
        space();
        if (peek() == '}') {
            place++;
            return members;
        }
        while (true) {
            space();
            String name = string();
            space();
            take(':');
            if (members.containsKey(name)) {
                throw wrong("another name than '" + name + "', which is there already");
            }
            members.put(name, value());
            space();
            if (peek() == '}') {
                place++;
                return members;
            }
            take(',');
        }
    }

    private List<Object> array() {
        List<Object> items = new ArrayList<>();
        place++;
        space();
        if (peek() == ']') {
            place++;
            return items;
        }
        while (true) {
            items.add(value());
            space();
            if (peek() == ']') {
                place++;
                return items;
            }
            take(',');
        }
    }

    private String string() {
        take('"');
        StringBuilder characters = new StringBuilder();
        while (true) {
            char next = peek();
            place++;
            if (next == '"') {
                return characters.toString();
            }
            if (next < ' ') {
                place--;
                throw wrong("a character above U+001F");
            }
            characters.append(next == '\\' ? escaped() : next);
        }
    }

    private char escaped() {
        char kind = peek();
        place++;
        switch (kind) {
            case '"', '\\', '/':
                return kind;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                int code = 0;
                for (int digit = 0; digit < 4; digit++) {
                    char hex = peek();
                    int number = hex < 128 ? Character.digit(hex, 16) : -1;
                    if (number < 0) {
                        throw wrong("four hexadecimal digits");
                    }
                    code = 16 * code + number;
                    place++;
                }
                return (char) code;
            default:
                place--;
                throw wrong("one of \"\\/bfnrtu");
        }
    }

    private Double number() {
        int start = place;
        if (peek() == '-') {
            place++;
        }
        int whole = place;
        digits();
        if (text.charAt(whole) == '0' && place > whole + 1) {
            place = whole + 1;
            throw wrong("no digit after a leading 0");
        }
        if (peek() == '.') {
            place++;
            digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            place++;
            if (peek() == '+' || peek() == '-') {
                place++;
            }
            digits();
        }
        return Double.valueOf(text.substring(start, place));
    }

    private void digits() {
        int start = place;
        while (peek() >= '0' && peek() <= '9') {
            place++;
        }
        if (place == start) {
            throw wrong("a value");
        }
    }

    private Boolean word(String name, Boolean value) {
        if (!text.startsWith(name, place)) {
            throw wrong("a value");
        }
        place += name.length();
        return value;
    }

    private void space() {
        while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') {
            place++;
        }
    }

    private void take(char wanted) {
        if (peek() != wanted) {
            throw wrong("'" + wanted + "'");
        }
        place++;
    }

    /** Returns the next character, '\0' at the end: it starts no value, and stands in no string. */
    private char peek() {
        return place < text.length() ? text.charAt(place) : '\0';
    }

    private BundleException wrong(String wanted) {
        return new BundleException("no JSON: " + wanted + " is expected at character " + place);
    }
}
