package dev.edgefm.bundle;

/**
 * What a phone is; what it does not tell is null.
 *
 * @param device maker and model
 * @param soc its processor, with the maker where that is told
 * @param android version, such as "16"
 * @param api level of Android's API
 * @param abi such as "arm64-v8a"
 * @param cores that Java may use
 * @param memoryBytes of the whole phone
 * @param litert version of LiteRT that the app was built with
 */
public record PhoneFacts(
        String device, String soc, String android, int api, String abi, int cores, long memoryBytes, String litert) {}
