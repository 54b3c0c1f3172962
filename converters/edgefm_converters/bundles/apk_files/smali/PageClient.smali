# Gives the WebView the page from the assets, and nothing else: the app may not use the network.
.class final Ldev/edgefm/page/PageClient;
.super Landroid/webkit/WebViewClient;

.field private final activity:Ldev/edgefm/page/PageActivity;

.method constructor <init>(Ldev/edgefm/page/PageActivity;)V
    .registers 2

    invoke-direct {p0}, Landroid/webkit/WebViewClient;-><init>()V
    iput-object p1, p0, Ldev/edgefm/page/PageClient;->activity:Ldev/edgefm/page/PageActivity;

    return-void
.end method

.method private static isPage(Landroid/webkit/WebResourceRequest;)Z
    .registers 3

    invoke-interface {p0}, Landroid/webkit/WebResourceRequest;->getUrl()Landroid/net/Uri;
    move-result-object v0
    invoke-virtual {v0}, Landroid/net/Uri;->toString()Ljava/lang/String;
    move-result-object v0
    const-string v1, "https://appassets.androidplatform.net/index.html"
    invoke-virtual {v1, v0}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v0

    return v0
.end method

# Returns the page, or an empty answer 404; null leaves what the page makes itself (data:) to the WebView.
.method public shouldInterceptRequest(Landroid/webkit/WebView;Landroid/webkit/WebResourceRequest;)Landroid/webkit/WebResourceResponse;
    .registers 11

    invoke-static {p2}, Ldev/edgefm/page/PageClient;->isPage(Landroid/webkit/WebResourceRequest;)Z
    move-result v0
    if-eqz v0, :other

    iget-object v0, p0, Ldev/edgefm/page/PageClient;->activity:Ldev/edgefm/page/PageActivity;
    invoke-virtual {v0}, Ldev/edgefm/page/PageActivity;->getAssets()Landroid/content/res/AssetManager;
    move-result-object v0
    const-string v1, "index.html"
    :try_start
    invoke-virtual {v0, v1}, Landroid/content/res/AssetManager;->open(Ljava/lang/String;)Ljava/io/InputStream;
    move-result-object v3
    :try_end
    .catch Ljava/io/IOException; {:try_start .. :try_end} :missing
    new-instance v0, Landroid/webkit/WebResourceResponse;
    const-string v1, "text/html"
    const-string v2, "utf-8"
    invoke-direct {v0, v1, v2, v3}, Landroid/webkit/WebResourceResponse;-><init>(Ljava/lang/String;Ljava/lang/String;Ljava/io/InputStream;)V
    return-object v0

    :other
    invoke-interface {p2}, Landroid/webkit/WebResourceRequest;->getUrl()Landroid/net/Uri;
    move-result-object v0
    invoke-virtual {v0}, Landroid/net/Uri;->toString()Ljava/lang/String;
    move-result-object v0
    const-string v1, "data:"
    invoke-virtual {v0, v1}, Ljava/lang/String;->startsWith(Ljava/lang/String;)Z
    move-result v0
    if-eqz v0, :none
    const/4 v0, 0x0
    return-object v0

    :missing
    move-exception v0

    :none
    new-instance v0, Landroid/webkit/WebResourceResponse;
    const-string v1, "text/plain"
    const-string v2, "utf-8"
    const/16 v3, 0x194
    const-string v4, "Not Found"
    invoke-static {}, Ljava/util/Collections;->emptyMap()Ljava/util/Map;
    move-result-object v5
    new-instance v6, Ljava/io/ByteArrayInputStream;
    const/4 v7, 0x0
    new-array v7, v7, [B
    invoke-direct {v6, v7}, Ljava/io/ByteArrayInputStream;-><init>([B)V
    invoke-direct/range {v0 .. v6}, Landroid/webkit/WebResourceResponse;-><init>(Ljava/lang/String;Ljava/lang/String;ILjava/lang/String;Ljava/util/Map;Ljava/io/InputStream;)V
    return-object v0
.end method

# Returns whether the WebView must not go there: it shows the page and no other.
.method public shouldOverrideUrlLoading(Landroid/webkit/WebView;Landroid/webkit/WebResourceRequest;)Z
    .registers 4

    invoke-static {p2}, Ldev/edgefm/page/PageClient;->isPage(Landroid/webkit/WebResourceRequest;)Z
    move-result v0
    xor-int/lit8 v0, v0, 0x1

    return v0
.end method
