# What the page asks of the phone: a picture from its files, and the camera.
.class final Ldev/edgefm/page/PageChrome;
.super Landroid/webkit/WebChromeClient;

.field private final activity:Ldev/edgefm/page/PageActivity;

.method constructor <init>(Ldev/edgefm/page/PageActivity;)V
    .registers 2

    invoke-direct {p0}, Landroid/webkit/WebChromeClient;-><init>()V
    iput-object p1, p0, Ldev/edgefm/page/PageChrome;->activity:Ldev/edgefm/page/PageActivity;

    return-void
.end method

# Lets the user choose a picture; false where the phone has nothing to choose one with.
.method public onShowFileChooser(Landroid/webkit/WebView;Landroid/webkit/ValueCallback;Landroid/webkit/WebChromeClient$FileChooserParams;)Z
    .registers 8

    iget-object v0, p0, Ldev/edgefm/page/PageChrome;->activity:Ldev/edgefm/page/PageActivity;
    iget-object v1, v0, Ldev/edgefm/page/PageActivity;->choosing:Landroid/webkit/ValueCallback;
    const/4 v2, 0x0
    if-eqz v1, :first
    invoke-interface {v1, v2}, Landroid/webkit/ValueCallback;->onReceiveValue(Ljava/lang/Object;)V

    :first
    iput-object p2, v0, Ldev/edgefm/page/PageActivity;->choosing:Landroid/webkit/ValueCallback;
    invoke-virtual {p3}, Landroid/webkit/WebChromeClient$FileChooserParams;->createIntent()Landroid/content/Intent;
    move-result-object v1
    const/4 v3, 0x1
    :try_start
    invoke-virtual {v0, v1, v3}, Ldev/edgefm/page/PageActivity;->startActivityForResult(Landroid/content/Intent;I)V
    :try_end
    .catch Landroid/content/ActivityNotFoundException; {:try_start .. :try_end} :nothing
    return v3

    :nothing
    move-exception v1
    iput-object v2, v0, Ldev/edgefm/page/PageActivity;->choosing:Landroid/webkit/ValueCallback;
    const/4 v1, 0x0
    return v1
.end method

# The page wants the camera: the user is asked once. Anything else that it may want is refused.
.method public onPermissionRequest(Landroid/webkit/PermissionRequest;)V
    .registers 7

    invoke-virtual {p1}, Landroid/webkit/PermissionRequest;->getResources()[Ljava/lang/String;
    move-result-object v0
    invoke-static {v0}, Ljava/util/Arrays;->asList([Ljava/lang/Object;)Ljava/util/List;
    move-result-object v0
    const-string v1, "android.webkit.resource.VIDEO_CAPTURE"
    invoke-static {v1}, Ljava/util/Collections;->singletonList(Ljava/lang/Object;)Ljava/util/List;
    move-result-object v1
    invoke-interface {v1, v0}, Ljava/util/List;->equals(Ljava/lang/Object;)Z
    move-result v0
    if-nez v0, :camera
    invoke-virtual {p1}, Landroid/webkit/PermissionRequest;->deny()V
    return-void

    :camera
    iget-object v0, p0, Ldev/edgefm/page/PageChrome;->activity:Ldev/edgefm/page/PageActivity;
    invoke-virtual {v0}, Ldev/edgefm/page/PageActivity;->mayUseCamera()Z
    move-result v1
    if-eqz v1, :ask
    invoke-static {p1, v1}, Ldev/edgefm/page/PageChrome;->answer(Landroid/webkit/PermissionRequest;Z)V
    return-void

    :ask
    iput-object p1, v0, Ldev/edgefm/page/PageActivity;->asking:Landroid/webkit/PermissionRequest;
    const/4 v1, 0x1
    new-array v2, v1, [Ljava/lang/String;
    const/4 v3, 0x0
    const-string v4, "android.permission.CAMERA"
    aput-object v4, v2, v3
    const/4 v1, 0x2
    invoke-virtual {v0, v2, v1}, Ldev/edgefm/page/PageActivity;->requestPermissions([Ljava/lang/String;I)V
    return-void
.end method

.method static answer(Landroid/webkit/PermissionRequest;Z)V
    .registers 5

    if-nez p1, :yes
    invoke-virtual {p0}, Landroid/webkit/PermissionRequest;->deny()V
    return-void

    :yes
    const/4 v0, 0x1
    new-array v0, v0, [Ljava/lang/String;
    const/4 v1, 0x0
    const-string v2, "android.webkit.resource.VIDEO_CAPTURE"
    aput-object v2, v0, v1
    invoke-virtual {p0, v0}, Landroid/webkit/PermissionRequest;->grant([Ljava/lang/String;)V
    return-void
.end method
