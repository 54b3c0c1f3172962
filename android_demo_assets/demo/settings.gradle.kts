// Android's plugin 9 builds this by default; `gradle -Pagp=8` takes version 8 with Kotlin's plugin beside it.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

val agp = providers.gradleProperty("agp").getOrElse("9")

dependencyResolutionManagement {
    repositoriesMode.set(RepositoriesMode.FAIL_ON_PROJECT_REPOS)
    repositories {
        google()
        mavenCentral()
    }
    versionCatalogs {
        create("libs") {
            from(files("gradle/agp$agp.versions.toml"))
        }
    }
}

rootProject.name = "edge-model-demo"
include(":app", ":edge-model")
project(":edge-model").projectDir = file("..")
if (agp == "8") {
    rootProject.buildFileName = "build-agp8.gradle.kts"
    project(":app").buildFileName = "build-agp8.gradle.kts"
    project(":edge-model").buildFileName = "build-agp8.gradle.kts"
}
