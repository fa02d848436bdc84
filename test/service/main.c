/*
 * main.c
 *	  service [-p PORT] [-l ENTRIES]		serve on 127.0.0.1, print the port
 *	  service call METHOD PATH [BODY]		one request to $ACTIVATE_SERVICE_URL, print the answer's body
 *	  service load SECONDS CONNECTIONS METHOD PATH [BODY]	measure requests per second
 *
 * The service ends with the process that started it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "service.h"

static int
usage(void)
{
	fprintf(stderr, "usage: service [-p PORT] [-l LOG_ENTRIES]\n"
			"       service call METHOD PATH [BODY]\n"
			"       service load SECONDS CONNECTIONS METHOD PATH [BODY]\n");
	return 2;
}

static int
client(int argc, char **argv)
{
	const char *url = getenv("ACTIVATE_SERVICE_URL");

	if (url == NULL)
	{
		fprintf(stderr, "service: ACTIVATE_SERVICE_URL is not set\n");
		return 2;
	}
	if (strcmp(argv[1], "call") == 0 && (argc == 4 || argc == 5))
		return client_call(url, argv[2], argv[3], argv[4]);
	if (strcmp(argv[1], "load") == 0 && (argc == 6 || argc == 7))
		return client_load(url, atoi(argv[2]), atoi(argv[3]), argv[4], argv[5], argv[6]);
	return usage();
}

int
main(int argc, char **argv)
{
	int			port = 0;
	int			entries = 10000;
	int			option;

	if (argc > 1 && argv[1][0] != '-')
		return client(argc, argv);
	while ((option = getopt(argc, argv, "p:l:")) != -1)
	{
		if (option == 'p')
			port = atoi(optarg);
		else if (option == 'l' && atoi(optarg) > 0)
			entries = atoi(optarg);
		else
			return usage();
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	log_init(entries);
	printf("%d\n", http_listen(port));
	fflush(stdout);
	http_loop();
	return 0;
}
