/* A cluster of librdkafka's mock brokers, and a reader and a producer of librdkafka's own beside it.
 *
 * Says where its brokers are, and then answers each line of its input with one that ends its answer: a number, 0 for done.
 *   topic NAME PARTITIONS REPLICAS    apiver KEY MIN MAX    err KEY CODE COUNT    rtt BROKER MS
 *   down BROKER    up BROKER    leader TOPIC PARTITION BROKER
 *   read TOPIC PARTITIONS             what came since the last time, a line each: partition, offset, key, value, headers
 *   produce TOPIC PARTITION CODEC COUNT FROM */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST 64

static char problem[512];
static const char *brokers;
static rd_kafka_t *reader;
static char assigned[256];
static int64_t next[MOST];

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
  if (rd_kafka_conf_set(conf, name, value, problem, sizeof problem) == RD_KAFKA_CONF_OK) return;
  fprintf(stderr, "%s\n", problem);
  exit(1);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
  rd_kafka_t *made = rd_kafka_new(type, conf, problem, sizeof problem);
  if (made != NULL) return made;
  fprintf(stderr, "%s\n", problem);
  exit(1);
}

static void hex(const void *bytes, size_t length) {
  static const char digits[] = "0123456789abcdef";
  for (size_t at = 0; at < length; at++) {
    unsigned char byte = ((const unsigned char *)bytes)[at];
    putchar(digits[byte >> 4]);
    putchar(digits[byte & 15]);
  }
}

static void print(rd_kafka_message_t *message) {
  rd_kafka_headers_t *headers;
  const char *name;
  const void *value;
  size_t length;
  printf("%d %lld ", message->partition, (long long)message->offset);
  hex(message->key, message->key_len);
  putchar(' ');
  hex(message->payload, message->len);
  if (rd_kafka_message_headers(message, &headers) == 0)
    for (size_t at = 0; rd_kafka_header_get_all(headers, at, &name, &value, &length) == 0; at++)
      printf(" %s=%.*s", name, (int)length, (const char *)value);
  putchar('\n');
}

static int read_topic(const char *topic, int count) {
  int64_t low, high[MOST];
  double end = seconds() + 8;
  if (reader == NULL) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", "reader");
    set(conf, "enable.auto.commit", "false");
    set(conf, "check.crcs", "true");
    set(conf, "enable.partition.eof", "true");
    set(conf, "fetch.wait.max.ms", "5");
    set(conf, "fetch.error.backoff.ms", "5");
    set(conf, "reconnect.backoff.ms", "10");
    set(conf, "reconnect.backoff.max.ms", "20");
    set(conf, "log_level", "0");
    reader = client(RD_KAFKA_CONSUMER, conf);
  }
  for (int at = 0; at < count; at++)
    while (rd_kafka_query_watermark_offsets(reader, topic, at, &low, &high[at], 1000) != 0)
      if (seconds() > end) return -1;
  if (strcmp(assigned, topic) != 0) {
    snprintf(assigned, sizeof assigned, "%s", topic);
    memset(next, 0, sizeof next);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int at = 0; at < count; at++)
      rd_kafka_topic_partition_list_add(list, topic, at)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
  }
  for (;;) {
    int behind = 0;
    for (int at = 0; at < count; at++) behind += next[at] < high[at];
    if (behind == 0) return 0;
    if (seconds() > end) return -1;
    rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 50);
    if (message == NULL) continue;
    /* What came of another topic is told late. */
    if (message->rkt == NULL || strcmp(rd_kafka_topic_name(message->rkt), topic) != 0) {
    } else if (message->err == 0) {
      print(message);
      next[message->partition] = message->offset + 1;
    } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      next[message->partition] = message->offset;
    }
    rd_kafka_message_destroy(message);
  }
}

static int produce(const char *topic, int partition, const char *codec, int count, int from) {
  char key[32], value[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers);
  set(conf, "compression.codec", codec);
  set(conf, "linger.ms", "20");
  rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, conf);
  for (int at = from; at < from + count; at++) {
    snprintf(key, sizeof key, "key-%d", at);
    snprintf(value, sizeof value, "{\"number\":%d,\"text\":\"%0200d\"}", at, at);
    int failed = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, strlen(key)),
                                   RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_END);
    if (failed) return failed;
  }
  int result = rd_kafka_flush(producer, 5000);
  rd_kafka_destroy(producer);
  return result;
}

int main(int argc, char **argv) {
  char line[512], name[256], codec[32];
  int a, b, c, d;
  if (argc != 2) return 2;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  set(conf, "log_level", "0");
  rd_kafka_t *host = client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, atoi(argv[1]));
  brokers = rd_kafka_mock_cluster_bootstraps(cluster);
  printf("%s\n", brokers);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != NULL) {
    int result = -2;
    if (sscanf(line, "topic %255s %d %d", name, &a, &b) == 3) {
      result = rd_kafka_mock_topic_create(cluster, name, a, b);
    } else if (sscanf(line, "apiver %d %d %d", &a, &b, &c) == 3) {
      result = rd_kafka_mock_set_apiversion(cluster, a, b, c);
    } else if (sscanf(line, "err %d %d %d", &a, &b, &c) == 3) {
      rd_kafka_mock_clear_request_errors(cluster, a);
      for (; c > 0; c--) rd_kafka_mock_push_request_errors(cluster, a, 1, b);
      result = 0;
    } else if (sscanf(line, "rtt %d %d", &a, &b) == 2) {
      result = rd_kafka_mock_broker_set_rtt(cluster, a, b);
    } else if (sscanf(line, "down %d", &a) == 1) {
      result = rd_kafka_mock_broker_set_down(cluster, a);
    } else if (sscanf(line, "up %d", &a) == 1) {
      result = rd_kafka_mock_broker_set_up(cluster, a);
    } else if (sscanf(line, "leader %255s %d %d", name, &a, &b) == 3) {
      result = rd_kafka_mock_partition_set_leader(cluster, name, a, b);
    } else if (sscanf(line, "read %255s %d", name, &a) == 2 && a <= MOST) {
      result = read_topic(name, a);
    } else if (sscanf(line, "produce %255s %d %31s %d %d", name, &a, codec, &c, &d) == 5) {
      result = produce(name, a, codec, c, d);
    }
    printf("%d\n", result);
    fflush(stdout);
  }
  return 0;
}
