// For Gradle's Android plugin 9, which compiles Kotlin itself. With version 8 take build-agp8.gradle.kts in its stead.
plugins {
    id("com.android.library")
}

android {
    namespace = "dev.edgefm.bundle.android"
    compileSdk = 36
    defaultConfig {
        minSdk = 23
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    api("com.google.ai.edge.litert:litert:2.3.2")
    implementation("androidx.exifinterface:exifinterface:1.4.2")
}

/** Copies what the model needs at run time into the assets. */
abstract class EdgeModelAssets : DefaultTask() {
    @get:InputFiles
    @get:PathSensitive(PathSensitivity.RELATIVE)
    abstract val bundle: ConfigurableFileCollection

    @get:Internal
    abstract val root: DirectoryProperty

    @get:OutputDirectory
    abstract val assets: DirectoryProperty

    @TaskAction
    fun copy() {
        val target = assets.get().asFile
        target.deleteRecursively()
        for (file in bundle.files.filter { it.isFile }) { // not every model has labels
            file.copyTo(target.resolve("edge-model").resolve(file.relativeTo(root.get().asFile)))
        }
    }
}

val edgeModelAssets = tasks.register<EdgeModelAssets>("edgeModelAssets") {
    root.set(layout.projectDirectory)
    for (folder in listOf("int8/", "small/", "float/")) { // of each model, "" at the top
        bundle.from("${folder}model.tflite", "${folder}contract.json", "${folder}labels.txt")
        bundle.from(fileTree("${folder}golden") { include("*.json", "*.bin") })
    }
}

androidComponents {
    onVariants { variant ->
        variant.sources.assets?.addGeneratedSourceDirectory(edgeModelAssets, EdgeModelAssets::assets)
    }
}
