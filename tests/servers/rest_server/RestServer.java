package org.apache.iceberg.rest;

import jakarta.servlet.DispatcherType;
import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.time.Instant;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.rest.credentials.ImmutableCredential;
import org.apache.iceberg.rest.responses.LoadTableResponse;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.servlet.FilterHolder;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.services.sts.model.Credentials;

/**
 * Iceberg's own REST catalog, which takes all clients for granted, with a door in front of it. Arguments: the port, and settings name=value. Those that begin with
 * "server." are its own; the others are properties of the catalog behind it.
 *
 * <p>server.credential=id:secret lets in only those who have a token that is given out for it, for server.token-seconds. server.vend=endpoint gives out credentials of
 * the S3 server there, for one table each and for server.vend-seconds.
 */
public class RestServer {
  public static void main(String[] arguments) throws Exception {
    Map<String, String> settings = new HashMap<>();
    for (int i = 1; i < arguments.length; i++) {
      String[] pair = arguments[i].split("=", 2);
      settings.put(pair[0], pair[1]);
    }
    Map<String, String> properties = new HashMap<>(settings);
    properties.keySet().removeIf(name -> name.startsWith("server."));
    Catalog catalog = CatalogUtil.buildIcebergCatalog("nunatak", properties, new Configuration());
    RESTCatalogAdapter adapter = settings.containsKey("server.vend") ? new Vending(catalog, settings) : new RESTCatalogAdapter(catalog);
    ServletContextHandler handler = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
    handler.addServlet(new ServletHolder(new RESTCatalogServlet(adapter)), "/*");
    if (settings.containsKey("server.credential")) {
      handler.addFilter(new FilterHolder(new Door(settings)), "/*", EnumSet.of(DispatcherType.REQUEST));
    }
    Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
    server.setHandler(handler);
    server.start();
    server.join();
  }

  /** Gives out tokens, and lets in who has one. */
  static class Door implements Filter {
    private final Map<String, Instant> tokens = new ConcurrentHashMap<>();
    private final String[] credential;
    private final long tokenSeconds;

    Door(Map<String, String> settings) {
      credential = settings.get("server.credential").split(":", 2);
      tokenSeconds = Long.parseLong(settings.getOrDefault("server.token-seconds", "3600"));
    }

    @Override
    public void doFilter(ServletRequest incoming, ServletResponse outgoing, FilterChain chain) throws IOException, ServletException {
      HttpServletRequest request = (HttpServletRequest) incoming;
      HttpServletResponse response = (HttpServletResponse) outgoing;
      if (request.getRequestURI().equals("/v1/oauth/tokens")) {
        giveToken(request, response);
        return;
      }
      String authorization = request.getHeader("Authorization");
      String token = authorization == null ? "" : authorization.replace("Bearer ", "");
      Instant until = tokens.get(token);
      if (until == null || Instant.now().isAfter(until)) {
        answer(response, 401, "{\"error\": {\"message\": \"Not authorized\", \"type\": \"NotAuthorizedException\", \"code\": 401}}");
        return;
      }
      chain.doFilter(request, response);
    }

    private void giveToken(HttpServletRequest request, HttpServletResponse response) throws IOException {
      String subject = request.getParameter("subject_token");
      boolean known = subject != null
          ? tokens.containsKey(subject)
          : credential[0].equals(request.getParameter("client_id")) && credential[1].equals(request.getParameter("client_secret"));
      if (!known) {
        answer(response, 401, "{\"error\": \"invalid_client\", \"error_description\": \"Credentials given were invalid\"}");
        return;
      }
      String token = UUID.randomUUID().toString();
      tokens.put(token, Instant.now().plusSeconds(tokenSeconds));
      answer(response, 200, String.format(
          "{\"access_token\": \"%s\", \"token_type\": \"bearer\", \"expires_in\": %d, "
              + "\"issued_token_type\": \"urn:ietf:params:oauth:token-type:access_token\"}",
          token, tokenSeconds));
    }

    private static void answer(HttpServletResponse response, int status, String json) throws IOException {
      response.setStatus(status);
      response.setContentType("application/json");
      response.getWriter().write(json);
    }
  }

  /** Gives out credentials with each table that is loaded. */
  static class Vending extends RESTCatalogAdapter {
    private final StsClient sts;
    private final Map<String, String> settings;

    Vending(Catalog catalog, Map<String, String> settings) {
      super(catalog);
      this.settings = settings;
      AwsBasicCredentials own = AwsBasicCredentials.create(settings.get("s3.access-key-id"), settings.get("s3.secret-access-key"));
      sts = StsClient.builder()
          .endpointOverride(URI.create(settings.get("server.vend")))
          .region(Region.of(settings.get("client.region")))
          .credentialsProvider(StaticCredentialsProvider.create(own))
          .httpClient(UrlConnectionHttpClient.create())
          .build();
    }

    @Override
    public <T extends RESTResponse> T handleRequest(Route route, Map<String, String> variables, Object body, Class<T> type) {
      T response = super.handleRequest(route, variables, body, type);
      if (!(response instanceof LoadTableResponse)) {
        return response;
      }
      LoadTableResponse loaded = (LoadTableResponse) response;
      String location = loaded.tableMetadata().location();
      LoadTableResponse.Builder builder = LoadTableResponse.builder().withTableMetadata(loaded.tableMetadata()).addAllConfig(loaded.config());
      builder.addConfig("s3.endpoint", settings.get("server.vend")).addConfig("client.region", settings.get("client.region"));
      builder.addConfig("s3.path-style-access", "true");
      builder.addCredential(ImmutableCredential.builder().prefix(location).config(credentials(location)).build());
      return type.cast(builder.build());
    }

    private Map<String, String> credentials(String location) {
      String path = location.replaceFirst("^s3[an]?://", "");
      String bucket = path.split("/", 2)[0];
      String policy = String.format(
          "{\"Version\": \"2012-10-17\", \"Statement\": ["
              + "{\"Effect\": \"Allow\", \"Action\": [\"s3:*\"], \"Resource\": [\"arn:aws:s3:::%s\", \"arn:aws:s3:::%s/*\"]},"
              + "{\"Effect\": \"Allow\", \"Action\": [\"s3:ListBucket\", \"s3:GetBucketLocation\"], \"Resource\": [\"arn:aws:s3:::%s\"]}]}",
          path, path, bucket);
      System.err.println("vended " + location);
      Credentials given = sts.assumeRole(request -> request
              .roleArn("arn:aws:iam::000000000000:role/nunatak").roleSessionName("table").durationSeconds(900).policy(policy))
          .credentials();
      long until = System.currentTimeMillis() + 1000 * Long.parseLong(settings.getOrDefault("server.vend-seconds", "900"));
      return Map.of(
          "s3.access-key-id", given.accessKeyId(),
          "s3.secret-access-key", given.secretAccessKey(),
          "s3.session-token", given.sessionToken(),
          "s3.session-token-expires-at-ms", Long.toString(until));
    }
  }
}
