/*
 * loop.c
 *	  loop URL CONNECTIONS REQUESTS <body
 *
 * The baseline of every figure about delivery: what libcurl does by itself.
 * One thread posts the same body again and again, so many requests in flight,
 * each with an Idempotency-Key of its own.  Nothing is rendered, kept or
 * looked up.  Prints microseconds: wall clock, CPU of this process.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_BODY (1024 * 1024)
#define MAX_CONNECTIONS 1024
#define KEY_HEADER "Idempotency-Key: 00000000-0000-0000-0000-"
#define KEY_DIGITS 12

typedef struct Slot
{
	CURL	   *easy;
	struct curl_slist *headers;
} Slot;

static CURLM *multi;
static Slot slots[MAX_CONNECTIONS];
static long submitted;

static double
wall_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static size_t
ignore(char *data, size_t size, size_t n, void *arg)
{
	(void) data;
	(void) arg;
	return size * n;
}

static void
slot_init(Slot *slot, const char *url, const char *body, long len)
{
	slot->headers = curl_slist_append(NULL, KEY_HEADER "000000000000");
	slot->headers = curl_slist_append(slot->headers, "Content-Type: application/json");
	slot->headers = curl_slist_append(slot->headers, "Expect:");
	slot->easy = curl_easy_init();
	curl_easy_setopt(slot->easy, CURLOPT_URL, url);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE, len);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
	curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
}

static void
submit(Slot *slot)
{
	sprintf(slot->headers->data + sizeof(KEY_HEADER) - 1, "%0*ld", KEY_DIGITS, ++submitted);
	curl_multi_add_handle(multi, slot->easy);
}

/* Each answer makes room for the next request; how many there were. */
static long
take_answers(long requests)
{
	CURLMsg    *message;
	int			queued;
	long		answered = 0;

	while ((message = curl_multi_info_read(multi, &queued)) != NULL)
	{
		Slot	   *slot;
		long		status = 0;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot);
		curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK || status != 200)
		{
			fprintf(stderr, "loop: %s, status %ld\n", curl_easy_strerror(message->data.result), status);
			exit(1);
		}
		answered++;
		curl_multi_remove_handle(multi, slot->easy);
		if (submitted < requests)
			submit(slot);
	}
	return answered;
}

int
main(int argc, char **argv)
{
	static char body[MAX_BODY];
	int			connections = argc == 4 ? atoi(argv[2]) : 0;
	long		requests = argc == 4 ? atol(argv[3]) : 0;
	long		len = fread(body, 1, sizeof(body), stdin);
	double		wall;
	double		cpu;

	if (connections < 1 || connections > MAX_CONNECTIONS || requests < 1)
	{
		fprintf(stderr, "usage: loop URL CONNECTIONS REQUESTS <body\n");
		return 2;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) connections);
	for (int i = 0; i < connections; i++)
		slot_init(&slots[i], argv[1], body, len);

	wall = wall_us();
	cpu = cpu_us();
	for (int i = 0; i < connections && submitted < requests; i++)
		submit(&slots[i]);
	for (long answered = 0; answered < requests;)
	{
		int			running;

		curl_multi_perform(multi, &running);
		answered += take_answers(requests);
		if (answered < requests)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%.0f %.0f\n", wall_us() - wall, cpu_us() - cpu);
	return 0;
}
