# The app's only screen: a WebView that shows the page in the assets. The page stands at the address that Android's
# documentation of WebViewAssetLoader keeps for such pages: cameras are for https alone. Nothing is ever fetched from there.
.class public final Ldev/edgefm/page/PageActivity;
.super Landroid/app/Activity;

.field private view:Landroid/webkit/WebView;

# Takes the picture that is being chosen; null while none is.
.field choosing:Landroid/webkit/ValueCallback;

# The page's wish for the camera, while the user is asked; null otherwise.
.field asking:Landroid/webkit/PermissionRequest;

.method public constructor <init>()V
    .registers 1

    invoke-direct {p0}, Landroid/app/Activity;-><init>()V

    return-void
.end method

.method protected onCreate(Landroid/os/Bundle;)V
    .registers 6

    invoke-super {p0, p1}, Landroid/app/Activity;->onCreate(Landroid/os/Bundle;)V

    new-instance v0, Landroid/webkit/WebView;
    invoke-direct {v0, p0}, Landroid/webkit/WebView;-><init>(Landroid/content/Context;)V
    iput-object v0, p0, Ldev/edgefm/page/PageActivity;->view:Landroid/webkit/WebView;

    invoke-virtual {v0}, Landroid/webkit/WebView;->getSettings()Landroid/webkit/WebSettings;
    move-result-object v1
    const/4 v2, 0x1
    invoke-virtual {v1, v2}, Landroid/webkit/WebSettings;->setJavaScriptEnabled(Z)V
    const/4 v2, 0x0
    invoke-virtual {v1, v2}, Landroid/webkit/WebSettings;->setAllowFileAccess(Z)V
    invoke-virtual {v1, v2}, Landroid/webkit/WebSettings;->setMediaPlaybackRequiresUserGesture(Z)V

    new-instance v1, Ldev/edgefm/page/PageClient;
    invoke-direct {v1, p0}, Ldev/edgefm/page/PageClient;-><init>(Ldev/edgefm/page/PageActivity;)V
    invoke-virtual {v0, v1}, Landroid/webkit/WebView;->setWebViewClient(Landroid/webkit/WebViewClient;)V

    new-instance v1, Ldev/edgefm/page/PageChrome;
    invoke-direct {v1, p0}, Ldev/edgefm/page/PageChrome;-><init>(Ldev/edgefm/page/PageActivity;)V
    invoke-virtual {v0, v1}, Landroid/webkit/WebView;->setWebChromeClient(Landroid/webkit/WebChromeClient;)V

    invoke-virtual {p0, v0}, Ldev/edgefm/page/PageActivity;->setContentView(Landroid/view/View;)V
    const-string v1, "https://appassets.androidplatform.net/index.html"
    invoke-virtual {v0, v1}, Landroid/webkit/WebView;->loadUrl(Ljava/lang/String;)V

    return-void
.end method

.method protected onDestroy()V
    .registers 2

    iget-object v0, p0, Ldev/edgefm/page/PageActivity;->view:Landroid/webkit/WebView;
    if-eqz v0, :gone
    invoke-virtual {v0}, Landroid/webkit/WebView;->destroy()V

    :gone
    invoke-super {p0}, Landroid/app/Activity;->onDestroy()V

    return-void
.end method

# The user chose a picture, or went back.
.method protected onActivityResult(IILandroid/content/Intent;)V
    .registers 6

    invoke-super {p0, p1, p2, p3}, Landroid/app/Activity;->onActivityResult(IILandroid/content/Intent;)V

    iget-object v0, p0, Ldev/edgefm/page/PageActivity;->choosing:Landroid/webkit/ValueCallback;
    if-eqz v0, :none
    invoke-static {p2, p3}, Landroid/webkit/WebChromeClient$FileChooserParams;->parseResult(ILandroid/content/Intent;)[Landroid/net/Uri;
    move-result-object v1
    invoke-interface {v0, v1}, Landroid/webkit/ValueCallback;->onReceiveValue(Ljava/lang/Object;)V
    const/4 v0, 0x0
    iput-object v0, p0, Ldev/edgefm/page/PageActivity;->choosing:Landroid/webkit/ValueCallback;

    :none
    return-void
.end method

# The user answered whether this app may use the camera.
.method public onRequestPermissionsResult(I[Ljava/lang/String;[I)V
    .registers 6

    invoke-super {p0, p1, p2, p3}, Landroid/app/Activity;->onRequestPermissionsResult(I[Ljava/lang/String;[I)V

    iget-object v0, p0, Ldev/edgefm/page/PageActivity;->asking:Landroid/webkit/PermissionRequest;
    if-eqz v0, :none
    invoke-virtual {p0}, Ldev/edgefm/page/PageActivity;->mayUseCamera()Z
    move-result v1
    invoke-static {v0, v1}, Ldev/edgefm/page/PageChrome;->answer(Landroid/webkit/PermissionRequest;Z)V
    const/4 v0, 0x0
    iput-object v0, p0, Ldev/edgefm/page/PageActivity;->asking:Landroid/webkit/PermissionRequest;

    :none
    return-void
.end method

.method final mayUseCamera()Z
    .registers 2

    const-string v0, "android.permission.CAMERA"
    invoke-virtual {p0, v0}, Ldev/edgefm/page/PageActivity;->checkSelfPermission(Ljava/lang/String;)I
    move-result v0
    if-nez v0, :no
    const/4 v0, 0x1
    return v0

    :no
    const/4 v0, 0x0
    return v0
.end method
