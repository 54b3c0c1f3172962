plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "dev.edgefm.demo"
    compileSdk = 36
    defaultConfig {
        applicationId = "dev.edgefm.demo"
        minSdk = 23
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    androidResources {
        noCompress += "tflite" // so that the model is mapped, not copied
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    implementation(project(":edge-model"))
    implementation(libs.androidx.activity)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.camera.view)
}
